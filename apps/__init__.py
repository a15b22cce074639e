"""How a developer asks: the command line, the page in the browser and the HTTP API."""
