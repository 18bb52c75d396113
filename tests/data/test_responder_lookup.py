"""Responders are found through entry points of packages that pip has really installed."""

import sys

import pytest

from sari_data.errors import PluginError, SariError
from sari_data.responder import Request, Responder, Sampling, list_responders, load_responder
from sari_data.types import AudioRef


def test_without_the_package_its_responder_is_unknown():
    assert "echo" not in list_responders()
    with pytest.raises(PluginError, match=r"'echo' is not registered; found \[.*'scripted'.*\]: install"):
        load_responder("echo")


def test_listing_imports_nothing(plugin):
    assert {"echo", "broken", "nameless", "scripted", "local"} <= set(list_responders())
    assert "sari_example_plugin" not in sys.modules


def test_a_plugin_answers(plugin):
    responder = load_responder("echo", prefix="<answer>")
    assert isinstance(responder, Responder)
    assert responder.name == "echo:<answer>"
    (response,) = responder.respond([Request("q1", AudioRef(path="a.wav"), "say bell")], Sampling())
    assert (response.request_id, response.text, response.tokens) == ("q1", "<answer>bell", 1)


@pytest.mark.parametrize(
    ("name", "found", "why"),
    [
        ("broken", "sari_example_plugin.broken:BrokenResponder", "a_library_that_is_not_installed"),
        ("nameless", "sari_example_plugin:Nothing", "no attribute 'Nothing'"),
    ],
)
def test_a_plugin_that_fails_to_load_is_named(plugin, name, found, why):
    with pytest.raises(PluginError) as error:
        load_responder(name)
    assert isinstance(error.value, SariError)
    assert isinstance(error.value, ImportError)
    for part in (f"responder {name!r}", found, why, "repair or uninstall"):
        assert part in str(error.value)
    # The others are not touched by it.
    assert load_responder("echo").name == "echo:"
