"""Reads settings and greets people."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Settings:
    """How to greet."""

    greeting: str = "Hello"
    punctuation: str = "!"


def read_settings(path: Path) -> Settings:
    """Reads settings from a JSON file."""
    with path.open(encoding="utf-8") as file:
        values = json.load(file)
    return Settings(greeting=values["greeting"], punctuation=values["punctuation"])


def write_settings(path: Path, settings: Settings) -> None:
    """Writes settings to a JSON file."""
    values = {"greeting": settings.greeting, "punctuation": settings.punctuation}
    with path.open("w", encoding="utf-8") as file:
        json.dump(values, file)


def greet(name: str, settings: Settings) -> str:
    """Greets one person by name."""
    return f"{settings.greeting}, {name}{settings.punctuation}"


def greet_all(names: list[str], settings: Settings) -> list[str]:
    """Greets every person in the list."""
    return [greet(name, settings) for name in names]
