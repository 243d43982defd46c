"""Lists of keywords: by name, from a file, from the command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipaudit.errors import InputError, UsageError
from clipaudit.evaluation_sets.keywords import LISTS, read_keywords


@pytest.mark.parametrize(("name", "count"), [("cifar10", 10), ("cifar100", 100)])
def test_the_lists_of_the_paper_have_their_size_and_no_name_twice(name, count):
    keywords = read_keywords(name)
    assert len(keywords) == len(set(keywords)) == count
    assert list(keywords) == sorted(keywords)
    assert not any("_" in keyword for keyword in keywords)


def test_the_classes_of_cifar10_are_those_of_the_data_set_at_hand(cifar_zip):
    import zipfile

    with zipfile.ZipFile(cifar_zip) as archive:
        folders = {name.split("/")[-2] for name in archive.namelist() if name.endswith(".jpg")}
    assert set(read_keywords("cifar10")) == folders


def test_words_with_commas_are_keywords_each_once():
    assert read_keywords(" snow  leopard,otter,,OTTER ,été") == ("snow leopard", "otter", "été")


def test_one_word_is_a_keyword():
    assert read_keywords("otter") == ("otter",)


@pytest.mark.parametrize("typed", ["cifar1000", "cifar", "CIFAR-100", "cifar_10"])
def test_a_misspelt_list_is_not_taken_for_a_keyword(typed):
    with pytest.raises(UsageError, match="no list of keywords") as caught:
        read_keywords(typed)
    assert "cifar10" in caught.value.hint


def test_a_comma_makes_even_the_name_of_a_list_a_keyword():
    assert read_keywords("cifar,") == ("cifar",)


def test_a_file_holds_a_keyword_a_line_and_comments(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("\ufeff# mine\notter\n\n  snow leopard \r\nOtter\n", encoding="utf-8")
    assert read_keywords(str(file)) == ("otter", "snow leopard")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe\x00", "no text in UTF-8"), (b"# none\n\n", "holds no keyword")],
)
def test_a_file_without_keywords_is_named(tmp_path, content, said):
    file = tmp_path / "words.txt"
    file.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_keywords(str(file))
    assert "words.txt" in str(caught.value)


@pytest.mark.parametrize("typed", ["missing.txt", "there/is/none"])
def test_a_file_that_is_not_there_is_named(typed):
    with pytest.raises(InputError, match="cannot read the keywords"):
        read_keywords(typed)


@pytest.mark.parametrize("typed", [",", " , ", "a" * 201 + ",b", "bell\a,b"])
def test_what_no_source_could_be_asked_for_is_refused(typed):
    with pytest.raises(UsageError):
        read_keywords(typed)


@given(st.lists(st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20), min_size=2))
def test_every_word_is_found_again_whatever_its_alphabet(words):
    found = read_keywords(",".join(words))
    assert {word.casefold() for word in found} >= {
        word.casefold() for word in words if word.isascii()
    }
    assert len({word.casefold() for word in found}) == len(found)
    assert not set(LISTS) & {",".join(words)}
