"""Error messages from pydantic's findings: where, what is wrong, what would be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pyrovae.errors import nearest, short, shown

SYNONYMS: dict[str, str] = {
    "gaussian": "normal",
    "full": "full_rank",
    "realnvp": "flow",
    "gmm": "mixture",
}
"""Other words for kinds, for hints."""

MOST = 10
"""Mistakes that are named at once."""

Location = tuple[int | str, ...]


def explain(error: ValidationError, spec: type[BaseModel], tree: dict[str, Any]) -> dict[str, str]:
    """Return the messages for the first mistakes in ``tree`` by dotted key."""
    details = error.errors(include_url=False)
    keys = [_keys(d["loc"], tree, missing=d["type"] == "missing") for d in details]
    longer = {key[:count] for key in keys for count in range(len(key))}
    sentences: dict[str, str] = {}
    for detail, key in zip(details, keys, strict=True):
        if key in longer:
            continue  # a list that is too short only because of its wrong items
        name, sentence = _dotted(key), _sentence(detail, spec, tree)
        if name in sentences:  # none of several things that a value may be
            reason = sentence.removeprefix(f"{name} = {shown(detail['input'])}").lstrip(": ")
            known = sentences[name]
            sentence = known if known.endswith(reason) else f"{known}; or {reason}"
        elif len(sentences) == MOST:
            break
        sentences[name] = sentence
    return sentences


def _sentence(detail: ErrorDetails, spec: type[BaseModel], tree: dict[str, Any]) -> str:
    location, value, context = detail["loc"], detail["input"], detail.get("ctx", {})
    key = _dotted(_keys(location, tree, missing=detail["type"] == "missing"))
    match detail["type"]:
        case "extra_forbidden":
            table = _dotted(location[:-1])
            place = f"{table} has" if table else "there is"
            fields = _spec_at(spec, location[:-1]).model_fields
            deeper = _deeper(fields, str(location[-1]))
            hint = f"it is {_dotted((*location[:-1], *deeper))}" if deeper else ""
            word = short(str(location[-1]), 42)
            return f"{place} no key '{word}'; {hint or nearest(str(location[-1]), fields)}"
        case "missing" if isinstance(location[-1], int):
            return f"{key} = {shown(value)}: has too few values"
        case "missing":
            return f"{key} is missing"
        case "union_tag_invalid":
            kind = short(context["tag"], 42)
            kinds = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
            return f"no {key} of kind '{kind}'; {nearest(SYNONYMS.get(kind) or kind, kinds)}"
        case "union_tag_not_found":
            field = _spec_at(spec, location[:-1]).model_fields[str(location[-1])]
            kinds = [tag for member in _members(field.annotation) if (tag := _tag(member))]
            return f"{key}.kind is missing; choose one of: {', '.join(kinds)}"
        case "literal_error":
            choices = [str(choice) for choice in _choices(context["expected"])]
            return f"{key} = {shown(value)} is not known; {nearest(str(value), choices)}"
        case "model_type" | "model_attributes_type":
            return f"{key} = {shown(value)} is not a table; write [{key}] and its keys below it"
        case "value_error":
            return f"{key} = {shown(value)}: {context['error']}" if key else str(context["error"])
        case _:
            said = detail["msg"].replace("Input should", "must").replace("valid tuple", "list")
            said = said.replace(" after validation", "")
            return f"{key} = {shown(value)}: {_lower(said.replace('Tuple', 'list'))}"


def _deeper(fields: Mapping[str, FieldInfo], word: str) -> Location:
    """The table and the key of that name, if just one of the tables has it by default."""
    tables = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    found = [
        (name, word)
        for name, table in tables.items()
        if isinstance(table, BaseModel) and word in type(table).model_fields
    ]
    return found[0] if len(found) == 1 else ()


def _keys(location: Location, tree: Any, *, missing: bool = False) -> Location:
    """The location without the tags that pydantic puts in for the members of a union.

    Below a value, these are names of the types that it may have; but a key may be missing.
    """
    keys: list[int | str] = []
    for place, part in enumerate(location, start=1):
        if isinstance(tree, dict) and part not in tree:
            if part == tree.get("kind"):
                continue
            return (*keys, *([part] if missing and place == len(location) else []))
        items = dict[Any, Any](enumerate(tree)) if isinstance(tree, list) else tree
        if not isinstance(items, dict) or part not in items:
            break
        keys.append(part)
        tree = items[part]
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
    return field.default if field and isinstance(field.default, str) else None


def _choices(expected: str) -> list[str]:
    return [choice.strip(" '") for choice in expected.replace(" or ", ",").split(",")]


def _dotted(location: Sequence[int | str]) -> str:
    return ".".join(short(str(part), 42) for part in location)


def _lower(message: str) -> str:
    return message[0].lower() + message[1:]
