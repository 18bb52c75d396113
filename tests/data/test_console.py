"""How a command ends: exit codes, one sentence for an error, results and notes on their own streams."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys

import pytest
import typer

from sari_data import console
from sari_data.errors import InputError, StorageError


def end(body: object, *arguments: str) -> int:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @app.command()
    def command(number: int = 0) -> None:
        if isinstance(body, BaseException):
            raise body

    with pytest.raises(SystemExit) as stopped:
        console.run_app(app, arguments)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_a_command_that_is_done_ends_with_0(capfd: pytest.CaptureFixture[str]) -> None:
    assert end(None) == 0
    assert capfd.readouterr().err == ""


def test_an_error_for_the_user_is_one_sentence_and_code_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert end(InputError("expected [a] list, found [red]none[/]: give one")) == 2
    captured = capfd.readouterr()
    assert captured.err == "error: expected [a] list, found [red]none[/]: give one\n"
    assert captured.out == ""


def test_a_long_error_is_not_wrapped(capfd: pytest.CaptureFixture[str]) -> None:
    sentence = "expected " + "a very long text " * 40
    end(InputError(sentence))
    assert capfd.readouterr().err == f"error: {sentence}\n"


def test_a_full_disk_is_a_sentence_even_where_nobody_expected_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert end(OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")) == 2
    assert "metrics.jsonl: could not be read or written (No space left on device)" in capfd.readouterr().err


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def command() -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    with pytest.raises(OSError, match="Bad file descriptor"):
        console.run_app(app, [])


def test_a_storage_error_is_caught_by_its_own_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    assert end(StorageError("the corpus could not be written")) == 2
    assert capfd.readouterr().err == "error: the corpus could not be written\n"


def test_wrong_usage_ends_with_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert end(None, "--number", "many") == 2
    assert end(None, "--unknown") == 2


def test_the_exit_code_of_a_check_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    assert end(typer.Exit(1)) == 1
    assert end(typer.Exit(130)) == 130  # by a command that has said why
    assert capfd.readouterr().err == ""


def test_control_c_ends_with_130_and_without_a_traceback() -> None:
    code = (
        "import os, signal, time, typer\n"
        "from sari_data.console import run_app\n"
        "app = typer.Typer()\n"
        "@app.command()\n"
        "def wait() -> None:\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit none\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(20)\n"
        "run_app(app, [])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr.strip() == "stopped"


def test_notes_go_to_standard_error_and_results_to_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    console.note("working on it")
    console.print_json({"name": "Zoë", "wide": "x" * 300})
    captured = capfd.readouterr()
    assert captured.err == "working on it\n"
    assert json.loads(captured.out) == {"name": "Zoë", "wide": "x" * 300}
    assert "Zoë" in captured.out


def test_progress_says_nothing_away_from_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with console.progress("counting", total=3) as advance:
        for _ in range(3):
            advance(1)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("text", ["writing a[/b]", "in [red]x :smile:", "[/]", "\\[x", "[bold]two words[/]"])
def test_a_note_and_a_line_of_a_result_keep_every_character(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    console.note(text)
    console.say(text)
    assert capfd.readouterr() == (f"{text}\n", f"{text}\n")


def test_a_note_may_begin_with_a_heading(capfd: pytest.CaptureFixture[str]) -> None:
    console.note("[bold]grpo[/]: from [x]")
    assert capfd.readouterr().err == "grpo: from [x]\n"


def test_an_error_keeps_emoji_codes(capfd: pytest.CaptureFixture[str]) -> None:
    end(InputError("no file a:smile:b"))
    assert capfd.readouterr().err == "error: no file a:smile:b\n"


def test_a_path_that_cannot_be_one_is_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    assert end(OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300)) == 2
    assert capfd.readouterr().err == (
        f"error: {'a' * 120}...: could not be read or written (File name too long): correct the path\n"
    )
