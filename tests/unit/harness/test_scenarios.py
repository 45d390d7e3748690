"""Which scenarios of compose-test and k8s-test run, and what becomes of those that break."""

from importlib import import_module

import pytest

from tests.deploy.commands import Failed
from tests.deploy.report import Report
from tests.deploy.scenarios import Scenario, UnknownScenario, chosen, run


def step(name: str, *needs: str, short: bool = False) -> Scenario[list[str]]:
    return Scenario(name, lambda ran: ran.append(name), needs, short)


TABLE = (step("install", short=True), step("upgrade", "install", short=True), step("rollback", "upgrade"), step("docs"))


def names(selection: str | None, short: bool = False) -> list[str]:
    return [scenario.name for scenario in chosen(TABLE, selection, short)]


def test_all_run_unless_told_otherwise() -> None:
    assert names(None) == ["install", "upgrade", "rollback", "docs"]
    assert names(None, short=True) == ["install", "upgrade"]


def test_what_is_named_runs_with_what_it_needs_in_the_order_of_the_table() -> None:
    assert names("docs") == ["docs"]
    assert names("docs, rollback") == ["install", "upgrade", "rollback", "docs"]
    assert names("rollback", short=True) == ["install", "upgrade", "rollback"]


@pytest.mark.parametrize("selection", ["", " , ", "3", "install,rolback"])
def test_a_selection_of_nothing_is_an_error_that_names_what_exists(selection: str) -> None:
    with pytest.raises(UnknownScenario, match=r"there are install, upgrade, rollback, docs$"):
        names(selection)


def test_what_needs_a_broken_scenario_fails_and_the_others_run() -> None:
    def breaks(ran: list[str]) -> None:
        raise Failed("no pod is ready")

    report, ran = Report(lambda: ""), list[str]()
    run([Scenario("install", breaks), *TABLE[1:]], report, ran)
    failed = [(row[0], row[3]) for row in report.rows if row[4] == "FAILED"]
    assert ran == ["docs"]
    assert failed == [
        ("install", "Failed no pod is ready"),
        ("upgrade", "Failed needs install"),
        ("rollback", "Failed needs upgrade"),
    ]
    assert report.failed == 3


@pytest.mark.parametrize("kind", ["compose", "k8s"])
def test_every_scenario_is_named_once_and_needs_one_before_it(kind: str) -> None:
    before: set[str] = set()
    for scenario in import_module(f"tests.deploy.{kind}.__main__").SCENARIOS:
        assert scenario.name not in before
        assert set(scenario.needs) <= before
        before.add(scenario.name)


@pytest.mark.parametrize("kind", ["compose", "k8s"])
def test_the_command_refuses_what_it_does_not_know(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCENARIOS", "3")
    monkeypatch.setattr("sys.argv", ["test"])
    with pytest.raises(SystemExit) as ended:
        import_module(f"tests.deploy.{kind}.__main__").main()
    assert ended.value.code == 2
    assert "SCENARIOS=3: no scenario 3; there are " in capsys.readouterr().err
