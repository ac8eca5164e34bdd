"""Reads a policy from a TOML file that a data-protection officer can review; tells the line of a fault."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from gem_consent import services
from gem_consent.errors import PolicyError
from gem_consent.locale import duration_text
from gem_consent.policy import Policy, Service

__all__ = ["load_policy"]

_At: TypeAlias = tuple[str | int, ...]
"""Where a value stands in the file: ``("services", 2, "trackers", 0, "lifetime")``."""

_READY_MADE: dict[str, Callable[..., Service]] = {
    parameters["id"].default: make
    for make in (getattr(services, name) for name in services.__all__)
    if "id" in (parameters := inspect.signature(make).parameters)
}
"""The services that need a few arguments only, by the id that each has unless told otherwise."""

_DURATION = re.compile(r"([1-9]\d{0,3}) (minute|hour|day|week|month|year)s?\Z")
_SYNTAX_ERROR_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")
_FIELD_ERROR = re.compile(r"(?:(\w+)\.(\w+)(?:\['([^']+)'\])?)?(.*)", re.DOTALL)
_NAME = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_NAMES = rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*"
_STATEMENT = re.compile(rf"\s*(?:\[\[{_NAMES}\]\]|\[{_NAMES}\]|{_NAMES}=)")
_ALLOWED = {
    str: "a text in quotes",
    bool: "true or false, without quotes",
    timedelta: "a number of minutes, hours, days, weeks, months or years such as '13 months'",
    type(None): "'session'",
}


class _PlacedError(PolicyError):
    """A fault whose key is known, its line not yet."""

    def __init__(self, at: _At, fault: str) -> None:
        super().__init__(f"{_dotted(at)} {fault}")
        self.at = at


def _dotted(at: _At) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).removeprefix(".")


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Read a policy from a TOML file; ``docs/policy-file.md`` describes its keys.

    Args:
        path: the file, in UTF-8.

    Raises:
        PolicyError: the file cannot be read, or something in it does not hold: the message names the file,
            the line, the key, the value and what is allowed.

    Example:
        >>> load_policy("nowhere.toml")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gem_consent.errors.PolicyError: nowhere.toml cannot be read (No such file or directory): ...
    """
    file = os.fspath(path)
    source = _source(file)
    try:
        return _policy(_arguments(Policy, tomllib.loads(source), ()))
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _SYNTAX_ERROR_PLACE.search(message)
        line = int(place[1]) if place and place[1] else source.rstrip().count("\n") + 1
        message = _SYNTAX_ERROR_PLACE.sub("", message)
        raise PolicyError(f"{file}, line {line}: this is not TOML (https://toml.io): {message}") from error
    except _PlacedError as error:
        raise PolicyError(f"{file}, line {_line(source, error.at)}: {error}") from error


def _source(file: str) -> str:
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        remedy = "give the path of a TOML file that this process may read"
        raise PolicyError(f"{file} cannot be read ({error.strerror}): {remedy}") from error
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"{file}, line {line}: this is not UTF-8; save the file again as UTF-8") from error


def _policy(arguments: Mapping[str, Any]) -> Policy:
    """Make the policy with one entry more each time, so that the one which clashes with others is known."""
    grown = {**arguments, "purposes": (), "services": ()}
    policy: Policy = _made(Policy, grown, ())
    for name in ("purposes", "services"):
        for index, entry in enumerate(arguments.get(name, ())):
            grown[name] += (entry,)
            policy = _made(Policy, grown, (name, index))
    return policy


def _made(make: Callable[..., Any], arguments: Mapping[str, Any], at: _At) -> Any:
    try:
        return make(**arguments)
    except PolicyError as error:
        owner, field, entry, fault = _FIELD_ERROR.findall(str(error))[0]
        table = () if owner == "Policy" else at
        raise _PlacedError((*table, *filter(None, (field, entry))), fault.strip()) from error


def _table(make: Callable[..., Any], table: dict[str, Any], at: _At) -> Any:
    if make is Service and "type" in table:
        kind = table.pop("type")
        if kind not in tuple(_READY_MADE):
            allowed = ", ".join(_READY_MADE)
            raise _PlacedError(
                (*at, "type"), f"is {kind!r}; allowed: {allowed}; leave it out for one of your own"
            )
        make = _READY_MADE[kind]
    return _made(make, _arguments(make, table, at), at)


def _arguments(make: Callable[..., Any], table: Mapping[str, Any], at: _At) -> dict[str, Any]:
    """Hold a table against the parameters of what it describes, a dataclass or a function."""
    parameters, hints = inspect.signature(make).parameters, get_type_hints(make)
    for key in table:
        if key not in parameters:
            nearest = difflib.get_close_matches(key, parameters) or parameters
            raise _PlacedError((*at, key), f"is not a key here; allowed: {', '.join(nearest)}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in table:
            raise _PlacedError((*at, name), f"is missing; allowed: {_allowed(hints[name])}")
    return {key: _value(hints[key], value, (*at, key)) for key, value in table.items()}


def _value(hint: Any, value: Any, at: _At) -> Any:
    """Turn a value of the file into what a field takes."""
    kinds = _alternatives(hint)
    if timedelta in kinds and isinstance(value, str):
        if match := _DURATION.match(value):
            return _duration(int(match[1]), match[2])
        if value == "session" and type(None) in kinds:
            return None
        kinds = ()  # beside a duration, a bare text is a misspelt one
    for kind in kinds:
        origin, inner = get_origin(kind), get_args(kind)
        if origin is Sequence and isinstance(value, list):
            return tuple(_value(inner[0], item, (*at, index)) for index, item in enumerate(value))
        if origin is Mapping and isinstance(value, dict):
            return {key: _value(inner[1], item, (*at, key)) for key, item in value.items()}
        if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
            return _table(kind, value, at)
        if type(value) is kind or (origin is Literal and value in inner):
            return value
    raise _PlacedError(at, f"is {value!r}; allowed: {_allowed(hint)}")


def _duration(number: int, unit: str) -> timedelta:
    if unit in ("month", "year"):
        return timedelta(days=_fewest_days(number * (12 if unit == "year" else 1)))
    return timedelta(**{f"{unit}s": number})


def _fewest_days(months: int) -> int:
    """Give the fewest days that so many calendar months can last: nothing is kept longer than is said."""
    days = 365 * months // 12 - 2
    while months > 1 and duration_text(days * 86_400) != ("months", months):
        days += 1
    return days


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return (hint,) if get_origin(hint) in (Literal, Mapping, Sequence, None) else get_args(hint)


def _allowed(hint: Any) -> str:
    kinds = _alternatives(hint)
    passed_over = str if timedelta in kinds else type(None)
    return " or ".join(_words(kind) for kind in kinds if kind is not passed_over)


def _words(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(inner)
    if origin is Sequence:
        return "tables in double brackets" if is_dataclass(inner[0]) else "a list such as ['…', '…']"
    if origin is Mapping:
        return "a text for each language, { fr = '…', en = '…' }" if inner[1] is str else "a table of lists"
    return _ALLOWED.get(kind, "a table")


def _line(source: str, at: _At) -> int:
    """Find the line of a key, or of the nearest table around it; tomllib tells no lines."""
    lines: dict[_At, int] = {(): 1}
    lengths: Counter[_At] = Counter()
    table: _At = ()
    quotes = ""
    for number, text in enumerate(source.split("\n"), 1):
        match = None if quotes else _STATEMENT.match(text)
        if match:
            found = _resolved(match[1] or match[2] or match[3], table if match[3] else (), lengths)
            if match[1]:
                lines.setdefault(found, number)
                lengths[found] += 1
                found = (*found, lengths[found] - 1)
            table = table if match[3] else found
            lines.setdefault(found, number)
        for quote in re.findall(r'"""|\'\'\'', text):
            quotes = "" if quotes == quote else quotes or quote
    return next(lines[at[:size]] for size in range(len(at), -1, -1) if at[:size] in lines)


def _resolved(names: str, table: _At, lengths: Counter[_At]) -> _At:
    """Follow names from a table; a list of tables stands for its newest (TOML 1.0, "Array of Tables")."""
    *above, last = (name.strip("\"'") for name in re.findall(_NAME, names))
    for name in above:
        table = (*table, name)
        if table in lengths:
            table = (*table, lengths[table] - 1)
    return (*table, last)
