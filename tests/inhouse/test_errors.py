"""What a refusal says in other people's words."""

import pytest

from inhouse.errors import InputError, refusals, words_of


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ValueError("Either the file is corrupted or this is not a parquet file."), "parquet file"),
        (OSError("two\n  lines:\n"), "two lines"),
        (KeyError(), "KeyError"),
        (RuntimeError(" . "), "RuntimeError"),
    ],
)
def test_a_librarys_words_stand_in_a_sentence_without_their_end(raised, said):
    assert words_of(raised).endswith(said)


def test_long_words_are_cut():
    assert words_of(ValueError("word " * 100), most=12) == "word word w…"


def test_what_a_library_refuses_is_one_line():
    with pytest.raises(InputError) as refusal, refusals("the model"):
        raise ImportError("No module named 'x'.\nInstall it.")
    expected = "the model cannot be built with these settings: No module named 'x'. Install it"
    assert str(refusal.value) == expected
