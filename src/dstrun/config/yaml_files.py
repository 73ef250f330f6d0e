"""Config files: UTF-8 YAML in which an option of text takes its text as it was typed.

YAML 1.1, which OmegaConf reads, makes 8 of 010, 90 of 1:30 and true of on. Here whole numbers are
decimal, and whether a scalar is text follows from the option that it belongs to."""

import re
from pathlib import Path
from typing import Any

import yaml

from dstrun.config.literals import plain_spelling, takes_text
from dstrun.system.errors import InputError

SWEPT = ("hydra.sweeper.params", "hydra.sweeper.grids")  # below these, keys are options again
KINDS = {yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}
STRING = "tag:yaml.org,2002:str"
NULL = "tag:yaml.org,2002:null"
INTEGER = "tag:yaml.org,2002:int"
FLOAT = "tag:yaml.org,2002:float"


class Loader(yaml.SafeLoader):
    """YAML 1.1 without dates, octal and sexagesimal numbers; 1e-4 is a number; a key that stands
    twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag == STRING:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = node.value.replace("_", "")
        return int(text, 0) if re.match(r"[-+]?0[xob]", text) else int(text)


Loader.yaml_implicit_resolvers = {
    first: [
        (tag, rule)
        for tag, rule in rules
        if tag.rpartition(":")[2] not in ("timestamp", "int", "float")
    ]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    INTEGER,
    re.compile(r"[-+]?(0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*)$"),
    list("-+0123456789"),
)
Loader.add_implicit_resolver(
    FLOAT,
    re.compile(
        r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))([eE][-+]?[0-9]+)?$|[-+]?\.inf$|\.nan$",
        re.IGNORECASE,
    ),
    list("-+0123456789."),
)
Loader.add_constructor(INTEGER, Loader.construct_yaml_int)


def read_text(file: Path) -> str:
    """Return what is in a file, without a byte-order mark; InputError for an empty file and for
    other than UTF-8."""
    content = file.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:4]:
        raise InputError(f"{file}: is written in UTF-16, or is no text; expected UTF-8")
    if not content.strip():
        raise InputError(f"{file}: is empty")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{file}: line {line} is not UTF-8; save the file as UTF-8") from error


def read_yaml(file: Path, package: str = "") -> dict[str, Any]:
    """Return the mapping in a YAML file whose keys are options below `package`, such as 'reg'.

    InputError for a file that is empty, no YAML, or no mapping.
    """
    try:
        loader = Loader(read_text(file))
        try:
            node = loader.get_single_node()
            if node is None:  # nothing but comments
                return {}
            if not isinstance(node, yaml.MappingNode):
                raise InputError(
                    f"{file}: got {KINDS[type(node)]}, expected lines of the form KEY: VALUE"
                )
            _take_as_typed(node, package)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise InputError(f"{file}: {_explained(error)}") from error


def header_package(text: str) -> str | None:
    """Return what a comment `# @package NAME` above the first line of a file says, or None."""
    for line in text.splitlines():
        if line.strip() and not line.startswith(("#", "---", "%YAML")):
            break
        if found := re.fullmatch(r"#\s*@package\s+(\S+)\s*", line):
            return found[1]
    return None


def _take_as_typed(node: yaml.Node, key: str) -> None:
    """Make text of the plain scalars of text options, null apart, and numbers of what means one to
    other options."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            below = f"{key}.{name.value}".lstrip(".")
            _take_as_typed(value, "" if below in SWEPT else below)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _take_as_typed(item, key)
    elif takes_text(key) and node.style is None and node.tag != NULL:
        node.tag, node.value = STRING, plain_spelling(key, node.value)
    elif node.tag in (STRING, FLOAT) and (plain := plain_spelling(key, node.value)) != node.value:
        node.tag, node.value = FLOAT if "." in plain or "e" in plain else INTEGER, plain


def _explained(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = " ".join((getattr(error, "problem", None) or str(error)).split())
    if problem.startswith("but"):
        problem = f"{getattr(error, 'context', '')} {problem}"
    if "'\\t'" in problem:
        problem = "a tab, where YAML wants spaces"
    return f"line {mark.line + 1}: {problem}" if mark else problem
