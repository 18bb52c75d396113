"""Every text that a model reads comes from a template; this is the one place that renders them.

A *response mode* is a folder ``modes/<name>/`` below the templates: ``prompt.jinja`` (what the user
asks), ``target.jinja`` (what SFT teaches as the response) and ``grammar.toml`` (the sections of a
response, in order, which the reader and the format reward use). Nothing about a mode is written
anywhere else. A folder of the same layout named by ``SARI_TEMPLATES``, or passed as ``templates``,
is searched before the templates that ship with sari, so a mode can be added or replaced.

Templates are rendered in Jinja's sandbox, with ``StrictUndefined`` (a misspelt name is an error)
and without HTML escaping. User text is only ever a value: Jinja syntax in it stays as it is.
"""

from __future__ import annotations

import hashlib
import os
import re
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sari_data.errors import InputError, TemplateError
from sari_data.resources import templates_dir
from sari_data.types import AudioQuestion

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

TEMPLATES_VARIABLE = "SARI_TEMPLATES"
ANSWER = "answer"
LETTERS = string.ascii_uppercase

_SECTION = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_INCLUDED = re.compile(r"""\{%[-+]?\s*(?:include|import|extends|from)\s+["']([^"']+)["']""")
_MODE_FILES = ("prompt.jinja", "target.jinja", "grammar.toml")


@dataclass(frozen=True, slots=True)
class Mode:
    """A response mode: which sections a response has, in which order.

    Args:
        name: The folder's name.
        sections: Dotted paths of the innermost sections in order, ``answer`` last.
        needs: Dotted attributes of a question without which no target can be written.
        digest: Hash (16 hex digits) of the mode's files and the shared question template; recorded with results.
    """

    name: str
    sections: tuple[str, ...]
    needs: tuple[str, ...]
    digest: str

    @property
    def tags(self) -> tuple[str, ...]:
        """The names of all tags that a response has, outer ones included, in order of first use."""
        return tuple(dict.fromkeys(part for path in self.sections for part in path.split(".")))

    @property
    def marks(self) -> tuple[tuple[bool, str], ...]:
        """The tags of a well-formed response in order, each as (opens, name)."""
        found: list[tuple[bool, str]] = []
        open_now: list[str] = []
        for path in self.sections:
            parts = path.split(".")
            while open_now and open_now != parts[: len(open_now)]:
                found.append((False, open_now.pop()))
            for part in parts[len(open_now) :]:
                open_now.append(part)
                found.append((True, part))
            found.append((False, open_now.pop()))
        found += [(False, name) for name in reversed(open_now)]
        return tuple(found)


def list_modes(*, templates: str | Path | None = None) -> list[str]:
    """Return the names of the response modes, sorted: those that ship with sari and the user's own.

    Args:
        templates: Folder that is searched first; default: the one that ``SARI_TEMPLATES`` names.
    """
    return _mode_names(_search_path(templates))


def load_mode(name: str, *, templates: str | Path | None = None) -> Mode:
    """Read a response mode (cached for as long as the process lives).

    Args:
        name: The mode's folder name, for instance ``structured``.
        templates: Folder that is searched first; default: the one that ``SARI_TEMPLATES`` names.

    Raises:
        TemplateError: No such mode, a file of it is absent, or its grammar is wrong.
    """
    return _load_mode(name, _search_path(templates))


def tag_parents(*, templates: str | Path | None = None) -> Mapping[str, frozenset[str]]:
    """Return the tags of all modes, each with the tags that it may stand in ("" for none): cached.

    The reader of responses recognises these tags and takes ``<anything-else>`` for text.
    """
    return _tag_parents(_search_path(templates))


def render(template_name: str, /, *, templates: str | Path | None = None, **values: Any) -> str:
    """Render any template below ``templates/``, for instance ``cards/corpus.md.jinja``.

    Args:
        template_name: Path below the templates folder, with ``/``.
        templates: Folder that is searched first; default: the one that ``SARI_TEMPLATES`` names.
        **values: What the template may use.

    Raises:
        TemplateError: No such template, a syntax error, an undefined name; says template and line.
    """
    from jinja2 import TemplateNotFound, TemplateSyntaxError

    try:
        return _environment(_search_path(templates)).get_template(template_name).render(**values)
    except TemplateNotFound as error:
        raise TemplateError(f"template {str(error.name)!r} is not below any of {_search_path(templates)}") from error
    except TemplateSyntaxError as error:
        where = error.name or error.filename or template_name
        raise TemplateError(f"template {where!r}, line {error.lineno}: {error.message}") from error
    except Exception as error:
        if isinstance(error, InputError):
            raise
        where, line = _where(error, template_name, _search_path(templates))
        raise TemplateError(f"template {where!r}, line {line}: {type(error).__name__}: {error}") from error


def template_hash(*template_names: str, templates: str | Path | None = None) -> str:
    """Return a hash (8 hex digits) of the text of templates and of all that they include, as they would be rendered.

    Raises:
        TemplateError: No such template.
    """
    return _template_hash(template_names, _search_path(templates))


def template_texts(*template_names: str, templates: str | Path | None = None) -> dict[str, str]:
    """Return the text of templates and of all that they include, by name; raises as :func:`template_hash`."""
    return _template_texts(template_names, _search_path(templates))


def render_prompt(
    question: AudioQuestion, mode: str, *, word_limit: int | None = None, templates: str | Path | None = None
) -> str:
    """Return the user's text for a question, without any placeholder for the audio.

    Args:
        question: What is asked; its options are shown with letters in their order.
        mode: Name of the response mode.
        word_limit: Asks for a thought of at most so many words; a mode without a thought leaves it out.
        templates: Folder that is searched first; default: the one that ``SARI_TEMPLATES`` names.

    Raises:
        InputError: The question has more options than there are letters, or ``word_limit`` is below 1.
        TemplateError: The mode does not exist or its template is wrong.
    """
    if word_limit is not None and word_limit < 1:
        raise InputError(f"word_limit must be 1 or more, or absent; found {word_limit}")
    load_mode(mode, templates=templates)
    return render(f"modes/{mode}/prompt.jinja", templates=templates, question=question, word_limit=word_limit)


def missing_need(question: AudioQuestion, mode: str, *, templates: str | Path | None = None) -> str | None:
    """Return the first field that the mode's target is written from and the question lacks, or ``None``."""
    for path in load_mode(mode, templates=templates).needs:
        value: Any = question
        for part in path.split("."):
            value = getattr(value, part, None)
        if value is None or value == "":
            return path
    return None


def render_target(question: AudioQuestion, mode: str, *, templates: str | Path | None = None) -> str:
    """Return the response that SFT teaches for a question; its answer is the right option's text.

    Raises:
        InputError: The question lacks what the mode needs (a chain, the answer), or its text contains
            one of the mode's own tags, so that the response could not be read back.
        TemplateError: The mode does not exist or its template is wrong.
    """
    spec = load_mode(mode, templates=templates)
    missing = missing_need(question, mode, templates=templates)
    if missing is not None:
        raise InputError(f"question {question.id!r}: mode {mode!r} needs its {missing}; found none: add it first")
    text = render(f"modes/{mode}/target.jinja", templates=templates, question=question)
    marks = tuple((m[1] == "", m[2].lower()) for m in tag_pattern(spec.tags).finditer(text))
    if marks != spec.marks:
        raise InputError(
            f"question {question.id!r}: its target in mode {mode!r} must have each tag of {list(spec.tags)} once and "
            "in order; found another sequence: remove the tags from the question's own text"
        )
    return text


@lru_cache(maxsize=64)
def tag_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern for open and close tags of ``names`` in any case; groups: ``/`` or empty, the name.

    White space inside the brackets is allowed. The quantifiers are possessive: matching is linear.
    """
    ordered = sorted(names, key=len, reverse=True)
    return re.compile(rf"<\s*+(/?+)\s*+({'|'.join(map(re.escape, ordered))})\s*+>", re.IGNORECASE | re.ASCII)


def _search_path(templates: str | Path | None) -> tuple[str, ...]:
    own = templates if templates is not None else os.environ.get(TEMPLATES_VARIABLE) or None
    if own is None:
        return (str(templates_dir()),)
    if not Path(own).is_dir():
        source = TEMPLATES_VARIABLE if templates is None else "templates"
        raise TemplateError(f"{source} must name a folder with templates; found {str(own)!r}, which is not a folder")
    return (str(Path(own).resolve()), str(templates_dir()))


@lru_cache(maxsize=8)
def _environment(roots: tuple[str, ...]) -> SandboxedEnvironment:
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        loader=FileSystemLoader(roots),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["letter"] = _letter
    return environment


@lru_cache(maxsize=256)
def _template_hash(names: tuple[str, ...], roots: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for name, text in _template_texts(names, roots).items():
        digest.update(f"{name}\x00{text}\x00".encode())
    return digest.hexdigest()[:8]


def _template_texts(names: tuple[str, ...], roots: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    todo = list(names)
    while todo:
        name = todo.pop(0)
        if name in found:
            continue
        path = _find(name, roots)
        if path is None:
            raise TemplateError(f"template {name!r} is not below any of {roots}")
        found[name] = path.read_text(encoding="utf-8")
        todo += _INCLUDED.findall(found[name])
    return found


def _letter(index: int) -> str:
    if index >= len(LETTERS):
        raise InputError(f"a question can show at most {len(LETTERS)} options; found more: drop some")
    return LETTERS[index]


def _where(error: Exception, template_name: str, roots: tuple[str, ...]) -> tuple[str, int]:
    # Jinja rewrites the traceback so that its innermost template frame has the template's own file and line.
    where, line, trace = template_name, 1, error.__traceback__
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        for root in roots:
            if filename.startswith(root + os.sep):
                where, line = Path(filename).relative_to(root).as_posix(), trace.tb_lineno
        trace = trace.tb_next
    return where, line


@lru_cache(maxsize=8)
def _tag_parents(roots: tuple[str, ...]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {ANSWER: {""}}
    for name in _mode_names(roots):
        for section in _load_mode(name, roots).sections:
            outer = ""
            for tag in section.split("."):
                found.setdefault(tag, set()).add(outer)
                outer = tag
    return {tag: frozenset(outers) for tag, outers in found.items()}


def _mode_names(roots: tuple[str, ...]) -> list[str]:
    return sorted({p.parent.name for root in roots for p in Path(root).glob("modes/*/grammar.toml")})


@lru_cache(maxsize=64)
def _load_mode(name: str, roots: tuple[str, ...]) -> Mode:
    found = {file: _find(f"modes/{name}/{file}", roots) for file in _MODE_FILES}
    if found["grammar.toml"] is None or re.fullmatch(r"[\w-]+", name) is None:
        raise TemplateError(f"response mode {name!r} is unknown; expected one of {_mode_names(roots)}")
    digest = hashlib.sha256()
    for file, path in (*found.items(), ("question.jinja", _find("modes/question.jinja", roots))):
        if path is None:
            raise TemplateError(f"response mode {name!r} needs the files {list(_MODE_FILES)}; {file} is not there")
        digest.update(path.read_bytes() + b"\x00")
    path = found["grammar.toml"]
    try:
        grammar = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path}: not valid TOML: {error}") from error
    unknown = set(grammar) - {"sections", "needs"}
    sections: Any = grammar.get("sections")
    needs: Any = grammar.get("needs", [])
    if unknown or not _texts(sections) or not _texts(needs):
        raise TemplateError(f"{path}: expected the lists of text 'sections' and 'needs'; found {grammar}")
    mode = Mode(name=name, sections=tuple(sections), needs=tuple(needs), digest=digest.hexdigest()[:16])
    _check_grammar(mode, path)
    return mode


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _check_grammar(mode: Mode, path: Path) -> None:
    bad = [s for s in mode.sections if not _SECTION.fullmatch(s)]
    if bad:
        raise TemplateError(f"{path}: sections are lower-case names joined by dots; found {bad}")
    if not mode.sections or mode.sections[-1] != ANSWER:
        raise TemplateError(f"{path}: the last section must be 'answer'; found {list(mode.sections)}")
    opened = [name for opens, name in mode.marks if opens]
    if len(set(opened)) != len(opened):
        raise TemplateError(
            f"{path}: each tag may open once, and the sections inside one must stand together; "
            f"found {list(mode.sections)}"
        )


def _find(name: str, roots: tuple[str, ...]) -> Path | None:
    return next((Path(root) / name for root in roots if (Path(root) / name).is_file()), None)
