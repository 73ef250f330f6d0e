"""Config files: YAML in UTF-8 in which an option of text takes its text as it was typed.

In YAML 1.1, which OmegaConf reads, 010 is 8, 1:30 is 90 and `on` is true. Here whole numbers are
decimal, and the option that a scalar belongs to determines whether it is text.
"""

import re
from copy import deepcopy
from functools import cache
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
TIMESTAMP = "tag:yaml.org,2002:timestamp"
WHOLE_NUMBER = re.compile(r"[-+]?(0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*)$")
REAL_NUMBER = re.compile(
    r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))([eE][-+]?[0-9]+)?$"
    r"|[-+]?\.inf$|\.nan$",
    re.IGNORECASE,
)


class Loader(yaml.SafeLoader):
    """YAML 1.1 without dates, octal and sexagesimal numbers, with 1e-4 as a number.

    A key that appears twice in a mapping is an error.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping; raise ConstructorError for a key that appears twice."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag == STRING:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Return a whole number, decimal unless it begins with 0x, 0o or 0b."""
        text = node.value.replace("_", "")
        return int(text, 0) if re.match(r"[-+]?0[xob]", text) else int(text)


def _change_resolvers() -> None:
    """Let `Loader` recognise numbers by the rules here, and dates not at all."""
    resolvers: dict[str, list[tuple[str, Any]]] = {}
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items():
        resolvers[first] = [rule for rule in rules if rule[0] not in (TIMESTAMP, INTEGER, FLOAT)]
    Loader.yaml_implicit_resolvers = resolvers
    Loader.add_implicit_resolver(INTEGER, WHOLE_NUMBER, list("-+0123456789"))
    Loader.add_implicit_resolver(FLOAT, REAL_NUMBER, list("-+0123456789."))
    Loader.add_constructor(INTEGER, Loader.construct_yaml_int)


_change_resolvers()


def read_text(file: Path) -> str:
    """Return the text of a file without its byte-order mark.

    Raise InputError for an empty file and for one that is not UTF-8.
    """
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

    Raise InputError for a file that is empty, no YAML, or no mapping.
    """
    return deepcopy(_parsed(read_text(file), file, package))


@cache  # 1 ms a file, and a command reads ten of them, some twice
def _parsed(text: str, file: Path, package: str) -> dict[str, Any]:
    """Return the mapping in the text of a YAML file; raise InputError as `read_yaml` does."""
    try:
        loader = Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:  # only comments
                return {}
            if not isinstance(node, yaml.MappingNode):
                kind = KINDS[type(node)]
                raise InputError(f"{file}: got {kind}, expected lines of the form KEY: VALUE")
            _convert_scalars(node, package)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise InputError(f"{file}: {_explained(error)}") from error


def header_package(text: str) -> str | None:
    """Return NAME of a comment `# @package NAME` above the first line of a file, or None."""
    for line in text.splitlines():
        if line.strip() and not line.startswith(("#", "---", "%YAML")):
            break
        if found := re.fullmatch(r"#\s*@package\s+(\S+)\s*", line):
            return found[1]
    return None


def _convert_scalars(node: yaml.Node, key: str) -> None:
    """Change the scalars below a node to the types of the options that they belong to.

    `key` is the dotted key of the node.
    """
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            below = f"{key}.{name.value}".lstrip(".")
            _convert_scalars(value, "" if below in SWEPT else below)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _convert_scalars(item, key)
    else:
        _convert_scalar(node, key)


def _convert_scalar(node: yaml.Node, key: str) -> None:
    """Make text of a plain scalar of a text option, but not of null, and a number of a spelling."""
    is_plain = node.style is None and node.tag != NULL
    if takes_text(key) and is_plain:
        node.tag, node.value = STRING, plain_spelling(key, node.value)
    elif node.tag in (STRING, FLOAT) and (plain := plain_spelling(key, node.value)) != node.value:
        node.tag, node.value = FLOAT if "." in plain or "e" in plain else INTEGER, plain


def _explained(error: yaml.YAMLError) -> str:
    """Return the message for an error of YAML, with its line in the file."""
    mark = getattr(error, "problem_mark", None)
    problem = " ".join((getattr(error, "problem", None) or str(error)).split())
    if problem.startswith("but"):
        problem = f"{getattr(error, 'context', '')} {problem}"
    if "'\\t'" in problem:
        problem = "a tab, where YAML wants spaces"
    return f"line {mark.line + 1}: {problem}" if mark else problem
