import logging

from clipaudit.verdicts.looks import NAME, count_look


def test_each_way_of_looking_at_the_same_suspects_counts_once(tmp_path):
    looks = [
        count_look(["b", "a"], ("encoder", 0), tmp_path),
        count_look(["a", "b"], ("encoder", 0), tmp_path),
        count_look(["a", "b"], ("encoder", 1), tmp_path),
        count_look(["a"], ("encoder", 1), tmp_path),
        count_look(["b", "a"], ("other", 1), tmp_path),
    ]
    assert looks == [1, 1, 2, 1, 3]


def test_the_log_holds_no_name(tmp_path):
    count_look(["picture"], ("encoder", "control"), tmp_path)
    text = (tmp_path / NAME).read_text()
    assert not any(word in text for word in ("picture", "encoder", "control"))


def test_a_log_that_is_broken_in_part_still_counts(tmp_path):
    count_look(["a"], 1, tmp_path)
    with (tmp_path / NAME).open("ab") as log:
        log.write(b'\xff\xfe\n[1]\n{"suspects": 3}\nnull\n' + b"[" * 100_000 + b"\n")
    assert count_look(["a"], 2, tmp_path) == 2


def test_where_no_log_can_be_kept_nothing_is_counted_and_that_is_said(tmp_path, caplog):
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    with caplog.at_level(logging.WARNING):
        assert count_look(["a"], 1, tmp_path) is None
    assert "comparisons are not counted" in caplog.text
