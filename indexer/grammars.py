"""The tree-sitter grammars, each from a wheel that carries it, and the queries put to them.

Captures: @function, @class and @impl are definitions, @name and @owner their parts, @declarator
holds a C name somewhere below, @above marks what belongs to the definition under it.
"""

import importlib
from functools import cache

from tree_sitter import Language, Query

_FUNCTION_VALUES = "[(arrow_function) (function_expression) (generator_function)]"
_JAVASCRIPT = f"""
(function_declaration name: (_) @name) @function
(generator_function_declaration name: (_) @name) @function
(class_declaration name: (_) @name) @class
(method_definition name: (_) @name) @function
(variable_declarator name: (identifier) @name value: {_FUNCTION_VALUES}) @function
(variable_declarator name: (identifier) @name value: (class)) @class
(assignment_expression left: [(member_expression) (identifier)] @name
  right: {_FUNCTION_VALUES}) @function
(pair key: (property_identifier) @name value: {_FUNCTION_VALUES}) @function
(comment) @above
"""
_JS_FIELDS = f"(field_definition property: (_) @name value: {_FUNCTION_VALUES}) @function"
_TYPESCRIPT = (
    _JAVASCRIPT
    + f"""
(public_field_definition name: (_) @name value: {_FUNCTION_VALUES}) @function
(abstract_class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @class
(type_alias_declaration name: (_) @name) @class
"""
)
_C = """
(function_definition declarator: (_) @declarator) @function
(struct_specifier name: (_) @name body: (_)) @class
(union_specifier name: (_) @name body: (_)) @class
(enum_specifier name: (_) @name body: (_)) @class
(type_definition declarator: (type_identifier) @name) @class
(preproc_function_def name: (_) @name) @function
(comment) @above
"""
_QUERIES = {
    "python": """
(function_definition name: (_) @name) @function
(class_definition name: (_) @name) @class
(comment) @above
""",
    "javascript": _JAVASCRIPT + _JS_FIELDS,
    "typescript": _TYPESCRIPT,
    "tsx": _TYPESCRIPT,
    "go": """
(function_declaration name: (_) @name) @function
(method_declaration receiver: (parameter_list (parameter_declaration type: (_) @owner))
  name: (_) @name) @function
(type_spec name: (_) @name) @class
(type_alias name: (_) @name) @class
(comment) @above
""",
    "rust": """
(function_item name: (_) @name) @function
(macro_definition name: (_) @name) @function
(struct_item name: (_) @name) @class
(enum_item name: (_) @name) @class
(union_item name: (_) @name) @class
(trait_item name: (_) @name) @class
(type_item name: (_) @name) @class
(impl_item type: (_) @name) @impl
[(line_comment) (block_comment) (attribute_item)] @above
""",
    "java": """
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @class
(record_declaration name: (_) @name) @class
(annotation_type_declaration name: (_) @name) @class
(method_declaration name: (_) @name) @function
(constructor_declaration name: (_) @name) @function
(compact_constructor_declaration name: (_) @name) @function
[(line_comment) (block_comment)] @above
""",
    "c": _C,
    "cpp": _C
    + """
(class_specifier name: (_) @name body: (_)) @class
(alias_declaration name: (_) @name) @class
(concept_definition name: (_) @name) @class
""",
    "csharp": """
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @class
(struct_declaration name: (_) @name) @class
(record_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @class
(delegate_declaration name: (_) @name) @class
(method_declaration name: (_) @name) @function
(constructor_declaration name: (_) @name) @function
(local_function_statement name: (_) @name) @function
(comment) @above
""",
    "ruby": """
(method name: (_) @name) @function
(singleton_method name: (_) @name) @function
(class name: (_) @name) @class
(module name: (_) @name) @class
(comment) @above
""",
    "php": """
(function_definition name: (_) @name) @function
(method_declaration name: (_) @name) @function
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @class
(trait_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @class
(comment) @above
""",
    "shell": """
(function_definition name: (_) @name) @function
(comment) @above
""",
}
_WHEELS = {  # grammar -> package and function, where they are not named like the grammar
    "typescript": ("typescript", "language_typescript"),
    "tsx": ("typescript", "language_tsx"),
    "csharp": ("c_sharp", "language"),
    "php": ("php", "language_php"),
    "shell": ("bash", "language"),
}
GRAMMARS = tuple(sorted(_QUERIES))


def grammar_of(path: str, language: str | None) -> str | None:
    """The grammar for a file, or None where there is none for its language."""
    if language == "typescript" and path.lower().endswith(".tsx"):
        return "tsx"
    return language if language in _QUERIES else None


@cache
def load_grammar(name: str) -> tuple[Language, Query]:
    """A grammar and the query for its definitions."""
    package, function = _WHEELS.get(name, (name, "language"))
    module = importlib.import_module(f"tree_sitter_{package}")
    language = Language(getattr(module, function)())
    return language, Query(language, _QUERIES[name])
