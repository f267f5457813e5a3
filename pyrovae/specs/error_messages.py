"""Error messages from pydantic's findings: where, what is wrong, what would be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pyrovae.errors import nearest

SYNONYMS: dict[str, str] = {
    "gaussian": "normal",
    "full": "full_rank",
    "realnvp": "flow",
    "gmm": "mixture",
}
"""Other words for kinds, for hints."""

Location = tuple[int | str, ...]


def explain(error: ValidationError, spec: type[BaseModel], tree: dict[str, Any]) -> dict[str, str]:
    """Return the messages for the mistakes in ``tree`` by dotted key."""
    details = error.errors(include_url=False)
    keys = [_keys(detail["loc"], tree) for detail in details]
    sentences: dict[str, str] = {}
    for detail, key in zip(details, keys, strict=True):
        if any(key == other[: len(key)] and key != other for other in keys):
            continue  # a list that is too short only because of its wrong items
        name, sentence = _dotted(key), _sentence(detail, spec, tree)
        if name in sentences:  # none of several things that a value may be
            reason = sentence.removeprefix(f"{name} = {detail['input']!r}").lstrip(": ")
            sentence = f"{sentences[name]}; or {reason}"
        sentences[name] = sentence
    return sentences


def _sentence(detail: ErrorDetails, spec: type[BaseModel], tree: dict[str, Any]) -> str:
    location, value, context = detail["loc"], detail["input"], detail.get("ctx", {})
    key = _dotted(_keys(location, tree))
    match detail["type"]:
        case "extra_forbidden":
            table = _dotted(location[:-1])
            place = f"{table} has" if table else "there is"
            fields = _spec_at(spec, location[:-1]).model_fields
            deeper = _deeper(fields, str(location[-1]))
            hint = f"it is {_dotted((*location[:-1], *deeper))}" if deeper else ""
            return f"{place} no key '{location[-1]}'; {hint or nearest(str(location[-1]), fields)}"
        case "missing":
            return f"{key} is missing"
        case "union_tag_invalid":
            kind = context["tag"]
            kinds = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
            return f"no {key} of kind '{kind}'; {nearest(SYNONYMS.get(kind) or kind, kinds)}"
        case "union_tag_not_found":
            field = _spec_at(spec, location[:-1]).model_fields[str(location[-1])]
            kinds = [tag for member in _members(field.annotation) if (tag := _tag(member))]
            return f"{key}.kind is missing; choose one of: {', '.join(kinds)}"
        case "literal_error":
            choices = [str(choice) for choice in _choices(context["expected"])]
            return f"{key} = {value!r} is not known; {nearest(str(value), choices)}"
        case "model_type" | "model_attributes_type":
            return f"{key} = {value!r} is not a table; write [{key}] and its keys below it"
        case "value_error":
            return f"{key} = {value!r}: {context['error']}" if key else str(context["error"])
        case _:
            return f"{key} = {value!r}: {_lower(detail['msg'].replace('Input should', 'must'))}"


def _deeper(fields: Mapping[str, FieldInfo], word: str) -> Location:
    """The table and the key of that name, if just one of the tables has it by default."""
    tables = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    found = [
        (name, word)
        for name, table in tables.items()
        if isinstance(table, BaseModel) and word in type(table).model_fields
    ]
    return found[0] if len(found) == 1 else ()


def _keys(location: Location, tree: Any) -> Location:
    """The location without the tags that pydantic puts in for the members of a union."""
    keys: list[int | str] = []
    for part in location:
        if isinstance(tree, dict) and part not in tree and part == tree.get("kind"):
            continue
        if not isinstance(tree, (dict, list)):
            break  # the value itself: what follows are names of the types it may have
        keys.append(part)
        tree = tree.get(part, {}) if isinstance(tree, dict) else tree[int(part)]
    return tuple(keys)


def _spec_at(spec: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel]:
    """The specification whose keys were expected at a location."""
    candidates = [spec]
    for part in location:
        tagged = [c for c in candidates if _tag(c) == part]
        candidates = tagged or _members(candidates[0].model_fields[str(part)].annotation)
    return candidates[0]


def _members(annotation: Any) -> list[type[BaseModel]]:
    members = get_args(annotation) or (annotation,)
    return [m for m in members if isinstance(m, type) and issubclass(m, BaseModel)]


def _tag(spec: type[BaseModel]) -> str | None:
    field = spec.model_fields.get("kind")
    return field.default if field else None


def _choices(expected: str) -> list[str]:
    return [choice.strip(" '") for choice in expected.replace(" or ", ",").split(",")]


def _dotted(location: Sequence[int | str]) -> str:
    return ".".join(map(str, location))


def _lower(message: str) -> str:
    return message[0].lower() + message[1:]
