"""The command line and the YAML file: what holds, and that nothing is guessed."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from inhouse import config
from inhouse.config import RunOptions, Stage, parse
from inhouse.errors import InputError
from inhouse.strict_yaml import load_yaml

STAGE = Stage("example", "python -m example", "an example")


@dataclass
class Options:
    """One field of each kind that stages have."""

    house_rules: str = field(metadata={"help": "A file."})
    source: str | None = None
    share: float = 0.5
    count: int = 3
    names: list[str] = field(default_factory=lambda: ["a"])
    seeds: list[int] = field(default_factory=lambda: [0])

    def __post_init__(self) -> None:
        if self.count > 100:
            raise ValueError(f"count {self.count} is over 100")


@pytest.fixture
def said(tmp_path, monkeypatch):
    """Parse words, with a YAML file if one is given."""
    monkeypatch.setattr(config, "ROOT", tmp_path / "clone")

    def run(*words: str, yaml: str | None = None, kinds=(Options,), trl=()):
        argv = list(words)
        if yaml is not None:
            (tmp_path / "c.yaml").write_text(yaml, encoding="utf-8")
            argv += ["--config", str(tmp_path / "c.yaml")]
        return parse(STAGE, *kinds, trl=trl, argv=argv)

    return run


@pytest.fixture
def refusal(said):
    def run(*words: str, **settings) -> str:
        with pytest.raises(InputError) as raised:
            said("--house_rules", "h", *words, **settings)
        return str(raised.value)

    return run


# --- what holds -------------------------------------------------------------------------------


def test_flags_win_over_yaml_and_yaml_over_defaults(said):
    options, own = said("--count", "9", "--house_rules=h", yaml="count: 7\nshare: 0.25\n")
    assert (own.count, own.share, own.names) == (9, 0.25, ["a"])
    assert options == RunOptions()


def test_only_what_was_set_is_a_setting(said):
    parsed = said("--house_rules", "h", "--count", "3", "--overwrite", "--dry_run", "true")
    assert parsed.settings == {"house_rules": "h", "count": 3}
    options, _ = parsed
    assert options.overwrite is True and options.dry_run is True


def test_a_value_has_the_same_type_from_yaml_and_from_a_flag(said):
    by_flag = said("--house_rules", "h", "--share", "1e-4", "--seeds", "1", "2", "--names", "x")
    by_yaml = said(yaml="house_rules: h\nshare: 1e-4\nseeds: [1, 2]\nnames: [x]\n")
    assert by_flag.values == by_yaml.values
    assert by_flag.settings == by_yaml.settings
    assert isinstance(by_yaml.values[1].share, float)


def test_config_with_an_equals_sign_works(said, tmp_path):
    (tmp_path / "x.yaml").write_text("count: 8\n")
    assert said(f"--config={tmp_path / 'x.yaml'}", "--house_rules", "h").values[1].count == 8


def test_values_that_begin_with_a_dash_survive_yaml(said):
    assert said(yaml="house_rules: --strange\ncount: -4\nseeds: [-1]\n").values[1] == Options(
        house_rules="--strange", count=-4, seeds=[-1]
    )


def test_null_stands_for_unset_where_a_key_may_be_unset(said):
    assert said(yaml="house_rules: h\nsource: null\n").values[1].source is None


def test_the_campaigns_own_file_is_read_before_the_stages(said, tmp_path, capsys):
    configs = tmp_path / "clone" / "configs"
    (configs / "mine").mkdir(parents=True)
    (configs / "mine" / "example.yaml").write_text("house_rules: mine\n")
    (configs / "example.yaml").write_text("house_rules: everyone's\n")
    for run_dir in ("runs/mine", "runs/mine/", "elsewhere/mine"):
        assert said("--run_dir", run_dir).values[1].house_rules == "mine"
    assert said("--run_dir=runs/other").values[1].house_rules == "everyone's"
    assert "example.yaml" in capsys.readouterr().out, "it does not say which file it read"


# --- what is refused --------------------------------------------------------------------------


def test_an_unknown_flag_names_its_nearest(refusal):
    message = refusal("--cuont", "3")
    assert "unknown key --cuont" in message and "did you mean --count?" in message


def test_an_unknown_yaml_key_names_file_and_line_and_its_nearest(refusal, tmp_path):
    message = refusal(yaml="# a comment\n\ncuont: 3\n")
    assert f"{tmp_path / 'c.yaml'}, line 3" in message and "did you mean count?" in message


@pytest.mark.parametrize("words", [["--coun", "3"], ["--cou=3"], ["--overw"], ["--conf", "x"]])
def test_an_abbreviated_flag_is_unknown(refusal, words):
    assert f"unknown key {words[0].split('=')[0]}" in refusal(*words)


def test_an_abbreviated_yaml_key_is_unknown(refusal):
    assert "unknown key coun" in refusal(yaml="coun: 3\n")


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--count", "2.5"], "2.5"),
        (["--count", "many"], "many"),
        (["--count", ""], "''"),
        (["--share", "half"], "half"),
        (["--seeds", "1", "two"], "two"),
        (["--overwrite", "perhaps"], "perhaps"),
    ],
)
def test_a_wrong_type_in_a_flag_names_flag_and_value(refusal, words, value):
    message = refusal(*words)
    assert words[0] in message and value in message


@pytest.mark.parametrize(
    "line",
    [
        "count: 2.5",
        "count: many",
        "count: true",
        "count: [1, 2]",
        "count: {a: 1}",
        "share: half",
        "share: [0.5]",
        "seeds: [1, two]",
        "seeds: 1.5",
        "seeds: []",
        "overwrite: perhaps",
        "count: null",
        "share: null",
        "seeds: null",
        "house_rules: null",
        "run_dir: null",
        "house_rules: [a, b]",
    ],
)
def test_a_wrong_type_in_yaml_names_file_line_and_key(refusal, tmp_path, line):
    message = refusal(yaml=f"names: [b]\n{line}\n")
    assert f"{tmp_path / 'c.yaml'}, line 2" in message
    assert line.split(":")[0] in message


def test_a_wrong_type_in_yaml_is_refused_even_where_a_flag_overrules_it(said):
    with pytest.raises(InputError, match="line 1"):
        said("--count", "3", "--house_rules", "h", yaml="count: many\n")


@pytest.mark.parametrize(
    ("yaml", "problem"),
    [
        ("count: 1\ncount: 2\n", "line 2"),
        ("env:\n  TOKEN: x\n", "env: is not allowed"),
        ("count: 1\nenv: {}\n", "line 2"),
        ("- count\n", "expected `key: value` lines"),
        ("", "expected `key: value` lines"),
        ("count: [1\nx", "line"),
        ("a: &x 1\ncount: *x\n", "aliases"),
        ("count: 1\n\tshare: 2\n", "line 2"),
        ("count: \x07\n", "c.yaml"),
        ("count: 1\n---\ncount: 2\n", "line"),
    ],
)
def test_yaml_that_is_not_plain_keys_is_refused(refusal, tmp_path, yaml, problem):
    message = refusal(yaml=yaml)
    assert str(tmp_path / "c.yaml") in message and problem in message


def test_a_yaml_file_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_bytes("name: Gebühr\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8 at byte 9"):
        load_yaml(tmp_path / "c.yaml")


def test_a_missing_config_file_is_named(refusal, tmp_path):
    assert "no config file" in refusal("--config", str(tmp_path / "none.yaml"))
    assert "--config needs a value" in refusal("--config")


def test_two_config_files_are_refused(refusal, tmp_path):
    assert "2 times" in refusal("--config", "a.yaml", "--config=b.yaml")


def test_a_needed_setting_that_is_missing_is_named(said):
    with pytest.raises(InputError, match=r"python -m example needs --house_rules"):
        said()


def test_a_word_without_a_flag_is_refused(refusal):
    assert "unexpected word 'train'" in refusal("train")


def test_what_a_dataclass_refuses_is_something_to_mend(refusal):
    assert "count 101 is over 100" in refusal("--count", "101")


# --- the network ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "yaml", "offline"),
    [
        ([], None, True),
        (["--allow_network"], None, False),
        (["--allow_network", "true"], None, False),
        (["--allow_network=true"], None, False),
        (["--allow_network", "false"], None, True),
        (["--allow_network=false"], None, True),
        (["--allow_network", "--dry_run"], None, False),
        ([], "allow_network: true\n", False),
        ([], "allow_network: false\n", True),
        (["--allow_network", "false"], "allow_network: true\n", True),
    ],
)
def test_the_hub_is_reached_exactly_when_it_is_allowed(said, monkeypatch, words, yaml, offline):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    options, _ = said("--house_rules", "h", *words, yaml=yaml)
    assert options.allow_network is not offline
    assert os.environ.get("HF_HUB_OFFLINE") == ("1" if offline else None)


# --- TRL's own keys ---------------------------------------------------------------------------


def test_a_value_the_user_set_is_never_changed_for_the_machine(said, tmp_path, capsys):
    words = ("--house_rules", "h", "--output_dir", str(tmp_path))
    filled = said(*words, trl=("SFTConfig",)).values[2]
    assert "use_cpu" in capsys.readouterr().out
    assert filled.bf16 is False  # no GPU here, or one is: then bf16 is what it can
    kept = said(*words, "--bf16", "false", "--use_cpu", "true", trl=("SFTConfig",))
    assert kept.values[2].bf16 is False and kept.settings["bf16"] is False


def test_settings_of_trl_that_exclude_each_other_are_something_to_mend(refusal, tmp_path):
    message = refusal("--output_dir", str(tmp_path), "--load_best_model_at_end", trl=("SFTConfig",))
    assert "do not go together" in message


def test_a_trl_key_of_the_wrong_type_in_yaml_names_its_line(refusal, tmp_path):
    message = refusal(yaml=f"output_dir: {tmp_path}\nmax_steps: 2.5\n", trl=("SFTConfig",))
    assert "line 2" in message and "2.5" in message


# --- help -------------------------------------------------------------------------------------


def test_help_lists_every_own_option_and_stops(capsys):
    with pytest.raises(SystemExit) as ended:
        parse(STAGE, Options, trl=("SFTConfig",), argv=["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for name in ("--run_dir", "--overwrite", "--house_rules (needed)", "--share (default: 0.5)"):
        assert name in printed
    assert "--help_all" in printed and "learning_rate" not in printed


def test_help_all_adds_trls_options(capsys):
    with pytest.raises(SystemExit):
        parse(STAGE, Options, trl=("SFTConfig",), argv=["--help_all"])
    assert "--learning_rate" in capsys.readouterr().out


def test_the_root_is_the_clone():
    assert (Path(config.ROOT) / "pyproject.toml").is_file()
