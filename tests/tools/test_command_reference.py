"""tools/command_reference.py: the page has every command, and is the one in docs/."""

from __future__ import annotations

from tools import command_reference


def test_the_page_is_up_to_date():
    assert command_reference.page() == command_reference.PAGE.read_text(encoding="utf-8"), (
        "run python tools/command_reference.py"
    )


def test_commands_of_groups_have_sections_with_their_options():
    section = command_reference.page().partition("\n## polystill bench decode\n")[2].partition("\n## ")[0]
    assert "polystill bench decode [OPTIONS]" in section
    assert "| `--batch-sizes" in section
