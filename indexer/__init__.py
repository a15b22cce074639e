"""Git and files: repositories, languages, chunks and the search index; no model in here."""
