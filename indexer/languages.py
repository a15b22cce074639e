"""Which language a file is in, told by its name, and whether it is test code."""

import re
from pathlib import PurePosixPath

_EXTENSIONS = {
    "python": "py pyi pyx pxd pyw",
    "javascript": "js mjs cjs jsx",
    "typescript": "ts tsx mts cts",
    "go": "go",
    "rust": "rs",
    "c": "c h",
    "cpp": "cc cpp cxx c++ hh hpp hxx h++ inl cu cuh",
    "java": "java",
    "kotlin": "kt kts",
    "scala": "scala sc",
    "csharp": "cs",
    "swift": "swift",
    "objective-c": "m mm",
    "ruby": "rb rake gemspec",
    "php": "php",
    "perl": "pl pm",
    "lua": "lua",
    "r": "r",
    "julia": "jl",
    "haskell": "hs",
    "ocaml": "ml mli",
    "elixir": "ex exs",
    "erlang": "erl hrl",
    "clojure": "clj cljs cljc",
    "dart": "dart",
    "zig": "zig",
    "nim": "nim",
    "fortran": "f f90 f95 for",
    "sql": "sql",
    "protobuf": "proto",
    "html": "html htm jinja j2",
    "css": "css scss sass less",
    "vue": "vue",
    "svelte": "svelte",
    "shell": "sh bash zsh fish",
    "powershell": "ps1",
    "markdown": "md markdown mdx",
    "rst": "rst",
    "toml": "toml",
    "ini": "ini cfg",
    "yaml": "yml yaml",
    "make": "mk",
    "cmake": "cmake",
    "nix": "nix",
    "terraform": "tf",
}
_NAMES = {
    "makefile": "make",
    "gnumakefile": "make",
    "dockerfile": "docker",
    "containerfile": "docker",
    "cmakelists.txt": "cmake",
    "meson.build": "meson",
    "gemfile": "ruby",
    "rakefile": "ruby",
    "jenkinsfile": "groovy",
    "sconstruct": "python",
    "sconscript": "python",
}
_BY_EXTENSION = {
    extension: name for name, listed in _EXTENSIONS.items() for extension in listed.split()
}

PROSE = {"markdown", "rst"}
SETTINGS = {"yaml", "toml", "ini", "make", "cmake", "docker"}  # of tools and builds

LANGUAGES = tuple(sorted({*_BY_EXTENSION.values(), *_NAMES.values()}))

_TEST = re.compile(
    r"(?:^|/)(?:tests?|testing|__tests__|spec|specs)/|(?:^|/)(?:test_[^/]*|conftest\.py)$|[._-](?:test|tests|spec)\.\w+$",
    re.IGNORECASE,
)


def language_of(path: str) -> str | None:
    """The language a path's name stands for ("python"), or None where it is no source we know."""
    name = PurePosixPath(path).name.lower()
    if name in _NAMES:
        return _NAMES[name]
    stem, dot, extension = name.rpartition(".")
    if stem in ("dockerfile", "makefile"):
        return _NAMES[stem]
    return _BY_EXTENSION.get(extension) if dot else None


def is_test(path: str) -> bool:
    """Whether a path looks like test code: a folder or a file named for tests."""
    return _TEST.search(path) is not None
