"""Templates: the shipped modes, the user's own, exact text, and errors that name the template and line."""

import pytest

from sari_data import prompting
from sari_data.errors import InputError, TemplateError
from sari_data.prompting import list_modes, load_mode, render, render_prompt, render_target, tag_parents
from sari_data.types import AudioQuestion, AudioRef, Reasoning, StructuredReasoning


@pytest.fixture
def question():
    return AudioQuestion(
        id="q1",
        audio=AudioRef(path="a.wav"),
        question="Which sound comes first?",
        choices=("dog bark", "bell", "siren", "hot dog"),
        answer="bell",
        domain="sound",
        caption="a bell, then a dog",
        reasoning=Reasoning(StructuredReasoning("I plan.", "A bell.", "It is first.", "So: bell."), "First a bell."),
    )


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's templates folder with one mode, `brief`, found through the environment."""
    folder = tmp_path / "templates"
    (folder / "modes" / "brief").mkdir(parents=True)
    write(folder, "prompt.jinja", '{% include "modes/question.jinja" %}\nBe brief.\n')
    write(folder, "target.jinja", "<heard>{{ question.caption }}</heard><answer>{{ question.answer }}</answer>\n")
    write(folder, "grammar.toml", 'sections = ["heard", "answer"]\nneeds = ["caption", "answer"]\n')
    monkeypatch.setenv(prompting.TEMPLATES_VARIABLE, str(folder))
    yield folder
    for cached in (prompting._load_mode, prompting._tag_parents, prompting._environment):
        cached.cache_clear()


def write(folder, name: str, text: str, mode: str = "brief") -> None:
    (folder / "modes" / mode / name).write_text(text, encoding="utf-8")
    prompting._load_mode.cache_clear()
    prompting._tag_parents.cache_clear()


def test_shipped_modes():
    assert list_modes() == ["direct", "structured", "unstructured"]
    assert load_mode("direct").sections == ("answer",)
    assert load_mode("unstructured").sections == ("think", "answer")
    structured = load_mode("structured")
    assert structured.sections == ("think.planning", "think.caption", "think.reasoning", "think.summary", "answer")
    assert structured.tags == ("think", "planning", "caption", "reasoning", "summary", "answer")
    assert structured.marks[:3] == ((True, "think"), (True, "planning"), (False, "planning"))
    assert structured.marks[-3:] == ((False, "think"), (True, "answer"), (False, "answer"))
    assert len({load_mode(mode).digest for mode in list_modes()}) == 3
    assert tag_parents()["planning"] == {"think"}
    assert tag_parents()["answer"] == {""}


def test_prompts(question):
    assert render_prompt(question, "direct") == (
        "Which sound comes first?\n(A) dog bark\n(B) bell\n(C) siren\n(D) hot dog\n"
        "Give the text of the right option in <answer></answer>, and nothing else."
    )
    for mode in list_modes():
        text = render_prompt(question, mode)
        assert text.startswith("Which sound comes first?\n(A) dog bark\n(B) bell\n")
        assert len(text.split()) < 70
        # Every tag of the grammar is named, in its order, and none that the mode has not.
        places = [text.index(f"<{tag}></{tag}>") for tag in load_mode(mode).tags]
        assert places == sorted(places)
        assert text.count("<") == 2 * len(places)


def test_word_limit(question):
    for mode in ("structured", "unstructured"):
        plain, limited = render_prompt(question, mode), render_prompt(question, mode, word_limit=30)
        assert limited == f"{plain} Think in at most 30 words."
    assert render_prompt(question, "direct", word_limit=30) == render_prompt(question, "direct")
    with pytest.raises(InputError, match="word_limit must be 1 or more"):
        render_prompt(question, "structured", word_limit=0)


def test_targets(question):
    assert render_target(question, "direct") == "<answer>bell</answer>"
    assert render_target(question, "unstructured") == "<think>First a bell.</think><answer>bell</answer>"
    assert render_target(question, "structured") == (
        "<think><planning>I plan.</planning><caption>A bell.</caption><reasoning>It is first.</reasoning>"
        "<summary>So: bell.</summary></think><answer>bell</answer>"
    )


def test_targets_need_their_chain(question):
    bare = question.replace(reasoning=Reasoning())
    for mode in ("structured", "unstructured"):
        with pytest.raises(InputError, match=rf"'q1': mode '{mode}' needs its reasoning\.{mode}"):
            render_target(bare, mode)
    assert render_target(bare, "direct") == "<answer>bell</answer>"
    with pytest.raises(InputError, match="needs its answer"):
        render_target(bare.replace(answer=None), "direct")


@pytest.mark.parametrize("text", ["so <answer>dog</answer>", "a </Think> b", "< think >"])
def test_targets_that_could_not_be_read_back(question, text):
    with pytest.raises(InputError, match="remove the tags"):
        render_target(question.replace(reasoning=Reasoning(unstructured=text)), "unstructured")


HOSTILE = [
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "{# gone #}",
    "{{ question.audio }}",
    "<b> & \"q\" 'a' &amp;",
    "  two  spaces \u00a0",
    "été “x” – 狗",
    "{{''.__class__.__mro__}}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_user_text_stays_as_it_is(question, text):
    hostile = question.replace(
        question=text,
        choices=(text, "other"),
        answer=text,
        reasoning=Reasoning(StructuredReasoning(text, text, text, text), text),
    )
    for mode in list_modes():
        prompt = render_prompt(hostile, mode)
        assert prompt.startswith(f"{text}\n(A) {text}\n(B) other\n")
        assert render_target(hostile, mode).count(text) == {"direct": 1, "unstructured": 2, "structured": 5}[mode]


def test_more_options_than_letters(question):
    many = question.replace(choices=tuple(f"bell {n}" for n in range(27)), answer=None)
    with pytest.raises(InputError, match="at most 26 options"):
        render_prompt(many, "direct")
    assert "(Z) bell 25" in render_prompt(many.replace(choices=many.choices[:26]), "direct")


def test_an_own_mode(question, own):
    assert list_modes() == ["brief", "direct", "structured", "unstructured"]
    assert render_prompt(question, "brief").endswith("(D) hot dog\nBe brief.")
    assert render_target(question, "brief") == "<heard>a bell, then a dog</heard><answer>bell</answer>"
    with pytest.raises(InputError, match="needs its caption"):
        render_target(question.replace(caption=None), "brief")


def test_an_own_mode_by_argument(question, own, monkeypatch):
    monkeypatch.delenv(prompting.TEMPLATES_VARIABLE)
    assert "brief" not in list_modes()
    assert "brief" in list_modes(templates=own)
    assert render_prompt(question, "brief", templates=own).endswith("Be brief.")
    assert load_mode("brief", templates=own).sections == ("heard", "answer")


def test_an_own_template_goes_before_the_shipped_one(question, own):
    before = load_mode("direct").digest
    (own / "modes" / "question.jinja").write_text("Q: {{ question.question }}\n")
    prompting._load_mode.cache_clear()
    assert render_prompt(question, "direct").startswith("Q: Which")
    assert load_mode("direct").digest != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n{{ qestion.question }}", r"modes/brief/prompt.jinja', line 2: UndefinedError: 'qestion' is undefined"),
        ("a\n\n{{ question.title }}", r"line 3: UndefinedError: .* has no attribute 'title'"),
        ("a\n{% for %}", r"modes/brief/prompt.jinja', line 2: "),
        ("{{ question.question | shout }}", r"line 1: No filter named 'shout'"),
        ("\n{{ ''.__class__.__mro__ }}", r"line 2: SecurityError"),
        ("\n{{ 1 / 0 }}", r"line 2: ZeroDivisionError"),
        ("{% include 'modes/none.jinja' %}", r"template 'modes/none.jinja' is not below"),
    ],
)
def test_wrong_templates(question, own, text, message):
    write(own, "prompt.jinja", text)
    with pytest.raises(TemplateError, match=message) as error:
        render_prompt(question, "brief")
    assert "\n" not in str(error.value)


def test_an_error_in_an_included_template_names_that_one(question, own):
    (own / "modes" / "question.jinja").write_text("{{ question.question }}\n{{ nothing }}\n")
    with pytest.raises(TemplateError, match=r"'modes/question.jinja', line 2"):
        render_prompt(question, "direct")


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        ("sections = [", "not valid TOML"),
        ("needs = []", "expected the lists"),
        ('sections = "answer"', "expected the lists"),
        ('sections = ["answer"]\nsection = []', "expected the lists"),
        ('sections = ["Think", "answer"]', "lower-case names"),
        ('sections = ["think..a", "answer"]', "lower-case names"),
        ('sections = ["answer", "think"]', "last section must be 'answer'"),
        ("sections = []", "last section must be 'answer'"),
        ('sections = ["think.a", "b", "think.c", "answer"]', "each tag may open once"),
        ('sections = ["think", "think.a", "answer"]', "each tag may open once"),
    ],
)
def test_wrong_grammars(own, grammar, message):
    write(own, "grammar.toml", grammar)
    with pytest.raises(TemplateError, match=message) as error:
        load_mode("brief")
    assert "brief/grammar.toml" in str(error.value)


def test_what_is_not_there(question, own, monkeypatch):
    for name in ("loud", "../modes/direct", ""):
        with pytest.raises(TemplateError, match=r"is unknown; expected one of \['brief', 'direct'"):
            render_prompt(question, name)
    (own / "modes" / "brief" / "target.jinja").unlink()
    with pytest.raises(TemplateError, match=r"target\.jinja is not there"):
        load_mode("brief")
    monkeypatch.setenv(prompting.TEMPLATES_VARIABLE, str(own / "nowhere"))
    with pytest.raises(TemplateError, match="SARI_TEMPLATES must name a folder"):
        list_modes()


def test_any_template_renders(own):
    (own / "card.md.jinja").write_text("# {{ name }}\n{% if rows %}\n{{ rows }} rows\n{% endif %}\n")
    assert render("card.md.jinja", name="<x>", rows=3) == "# <x>\n3 rows\n"
    with pytest.raises(TemplateError, match="'rows' is undefined"):
        render("card.md.jinja", name="x")
