"""Lists of addresses: formats and columns, what a keyword gives, and what may be wrong."""

import contextlib
import gzip
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clipaudit_crawlers.base import Query
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipaudit.errors import InputError
from clipaudit.evaluation_sets.address_list import AddressList
from tests.made.set_pictures import NO_WEB

ROOT = Path(__file__).parents[3]

A, B, C, D = (f"https://example.org/{name}.jpg" for name in "abcd")
COLUMNS = {
    "url": ("url", "image_url"),
    "keyword": ("keyword",),
    "caption": ("caption", "text", "title"),
    "author": ("author", "creator"),
    "page_url": ("page_url", "landing_url"),
    "license": ("license", "licence"),
    "license_url": ("license_url",),
    "width": ("original_width", "width"),
    "height": ("original_height", "height"),
    "sha256": ("sha256",),
    "md5": ("md5",),
    "sha1": ("sha1",),
}
"""What is read → names of a column that holds it."""

SHA256, MD5 = "0123456789abcdef" * 4, "0123456789abcdef" * 2


@pytest.fixture
def listed(tmp_path):
    """Opens a list with this content; bytes, text, or columns for Parquet."""

    def write(content, name="list.csv"):
        path = tmp_path / name
        if isinstance(content, dict):
            pq.write_table(pa.table(content), path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return AddressList.open(NO_WEB, {}, str(path))

    return write


def search(source, keyword="otter", limit=1000, **more):
    return list(source.search(Query(keyword=keyword, limit=limit, **more)))


def urls(source, keyword="otter", limit=1000, **more):
    return [record.image_url for record in search(source, keyword, limit, **more)]


# --- formats and columns -------------------------------------------------------------------------


def test_text_is_one_address_a_line(listed, caplog):
    assert urls(listed(f"# mine\n{A}\n\n  {B}\t\r\n{C}", "list.txt")) == [A, B, C]
    assert not caplog.messages, "remarks and empty lines are no rows"


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".CSV"])
def test_a_mark_at_the_start_and_windows_line_ends_do_no_harm(listed, ending):
    between = "\t" if ending == ".tsv" else ","
    text = f"\ufeffurl{between}md5\r\n{A}{between}{MD5}\r\n\r\n{B}{between}\r\n"
    assert [(one.image_url, one.md5) for one in search(listed(text, f"x{ending}"))] == [
        (A, MD5),
        (B, None),
    ]


KNOWN_LISTS = {
    "LAION-400M": "SAMPLE_ID,URL,TEXT,HEIGHT,WIDTH,LICENSE,NSFW,similarity\n"
    f"7,{A},an otter,480,640,?,UNLIKELY,0.34\n",
    "LAION-2B": "URL,TEXT,WIDTH,HEIGHT,similarity,hash,punsafe\n"
    f"{A},an otter,640,480,0.3,-77,0.1\n",
    "DataComp": "uid,url,text,original_width,original_height,sha256\n"
    f"u1,{A},an otter,640,480,{SHA256}\n",
    "img2dataset": "url,caption,key,status,width,height,original_width,original_height,sha256\n"
    f"{A},an otter,000,success,256,192,640,480,{SHA256}\n",
}


@pytest.mark.parametrize("name", KNOWN_LISTS)
def test_published_lists_are_understood(listed, name):
    (record,) = search(listed(KNOWN_LISTS[name]))
    assert (record.image_url, record.title) == (A, "an otter")
    assert (record.width_px, record.height_px) == (640, 480)
    assert record.sha256 == (SHA256 if SHA256 in KNOWN_LISTS[name] else None)
    assert record.license is None
    assert (record.source, record.source_id) == ("urls", A)


@pytest.mark.parametrize("row", [f"{A}\ta sea otter, swimming", f"a sea otter, swimming\t{A}"])
def test_pairs_without_a_header_are_an_address_and_a_caption(listed, row):
    second = row.replace("a.jpg", "b.jpg").replace("otter", "seal")
    source = listed(f"{row}\n{second}\n", "cc12m.tsv")
    (record,) = search(source)
    assert (record.image_url, record.title) == (A, "a sea otter, swimming")
    assert urls(source, "seal") == [B]


def test_more_columns_without_a_header_are_not_guessed(listed):
    source = listed(f"1,{A},an otter\n2,{B},a seal\n")
    assert [(one.image_url, one.title) for one in search(source)] == [(A, None), (B, None)]


@pytest.mark.parametrize("what", sorted(COLUMNS))
def test_every_name_of_a_column_is_read_in_capitals_too(listed, what):
    cells = {
        **dict.fromkeys(("author", "keyword", "caption"), "otter"),
        **dict.fromkeys(("page_url", "license_url"), B),
        "url": A,
        "license": "by",
        "width": "12",
        "height": "12",
        "sha256": SHA256,
        "md5": MD5,
        "sha1": "0" * 40,
    }
    for name in COLUMNS[what]:
        header = name.upper() if what == "url" else f"url,{name.upper()}"
        row = A if what == "url" else f"{A},{cells[what]}"
        (record,) = search(listed(f"{header}\n{row}\n"))
        said = {value for value in asdict(record).values() if value is not None}
        assert what == "keyword" or {cells[what], 12} & said, name


def test_a_column_that_is_there_twice_counts_once(listed):
    assert urls(listed(f"url,URL\n{A},{B}\n")) == [A]


def test_a_row_may_be_short_or_long(listed):
    source = listed(f"md5,url,text\n{MD5},{A}\n\n,{B},otter,more,still more\n")
    assert urls(source) == [B]
    assert urls(listed(f"md5,url\n{MD5}\n{MD5},{A}\n")) == [A]


def test_quotes_of_csv_are_undone(listed):
    source = listed(f'url,text\n{A},"an otter, ""wild""\nand wet"\n"{B}",otter\n')
    assert [one.title for one in search(source)] == ['an otter, "wild" and wet', "otter"]


def test_quotes_of_tsv_may_mean_nothing(listed):
    source = listed(f'url\ttext\n{A}\t"An otter" it says\n"{B}"\t"an ""otter"""\n', "x.tsv")
    assert [one.title for one in search(source)] == ['"An otter" it says', 'an "otter"']


def test_text_that_is_not_utf8_is_an_error_that_says_how_to_mend_it(listed):
    with pytest.raises(InputError, match="holds text that is not UTF-8") as caught:
        listed(f"url,text\n{A},an otter in ".encode() + "Zürich\n".encode("latin-1"))
    assert "iconv -f latin1" in caught.value.hint


def test_markup_in_captions_is_undone(listed):
    source = listed(f"url,text\n{A},<b>Otter</b> &amp; <script>x</script>pup\n")
    assert [one.title for one in search(source)] == ["Otter & pup"]


@pytest.mark.parametrize(
    ("said", "read"),
    [(SHA256.upper(), SHA256), (f" {SHA256} ", SHA256), (SHA256[1:], None), ("x" * 64, None)],
)
def test_a_hash_is_one_or_is_left_out(listed, said, read):
    assert [one.sha256 for one in search(listed(f"url,sha256\n{A},{said}\n"))] == [read]


@pytest.mark.parametrize(
    ("said", "license_id", "version"),
    [
        ("by-sa", "by-sa", None),
        ("BY-NC", "by-nc", None),
        ("CC BY 4.0", "by", "4.0"),
        ("https://creativecommons.org/licenses/by-nd/2.0/", "by-nd", "2.0"),
        ("?", None, None),
        ("", None, None),
        ("house rules", "house rules", None),
    ],
)
def test_licences_are_read_as_people_write_them(listed, said, license_id, version):
    (record,) = search(listed(f"url,license\n{A},{said}\n"))
    assert (record.license, record.license_version) == (license_id, version)


def test_a_credit_line_is_made_of_what_is_there(listed):
    header = "url,title,author,page_url,license,license_url"
    source = listed(
        f"{header}\n{A},An otter,Ann,{B},by,https://creativecommons.org/licenses/by/4.0/\n{C}\n"
    )
    first = search(source)[0]
    assert first.credit.startswith(f'"An otter" by Ann ({B}), CC BY 4.0')
    assert search(listed(f"url\n{C}\n"))[0].credit is None


# --- Parquet -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        pa.array([A, None, B]),
        pa.array([A, None, B], pa.large_string()),
        pa.array([A, None, B]).dictionary_encode(),
        pa.array([A.encode(), None, B.encode()]),
    ],
    ids=lambda column: str(column.type),
)
def test_addresses_in_parquet_may_be_of_any_kind_of_text(listed, column):
    assert urls(listed({"URL": column}, "x.parquet")) == [A, B]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2]),
        pa.array([None, None], pa.null()),
        pa.array([[A], []]),
        pa.array([{"url": A}, None]),
        pa.array([10**17, 1], pa.timestamp("us")),  # in the year 5138
    ],
    ids=lambda column: str(column.type),
)
def test_a_column_that_holds_something_else_is_an_error(listed, column):
    with pytest.raises(InputError, match=r"no column of .* holds addresses"):
        listed({"url": column}, "x.parquet")


def test_bytes_that_are_no_text_are_passed_over(listed, caplog):
    assert urls(listed({"url": pa.array([b"\xff\xfe", b""])}, "x.parquet")) == []
    assert "2 of the 2 rows" in caplog.text


def test_a_size_of_another_kind_is_as_good_as_not_said(listed):
    source = listed({"url": [A], "width": pa.array([2**62], pa.timestamp("us"))}, "x.parquet")
    assert [record.width_px for record in search(source)] == [None]


@pytest.mark.parametrize("width", [[640.0, float("nan")], ["640", "wide"], [640, -1], [640, None]])
def test_sizes_in_parquet_may_be_of_any_kind(listed, width):
    source = listed({"url": [A, B], "width": width}, "x.parquet")
    assert [one.width_px for one in search(source)] == [640, None]


def test_rows_are_counted_over_row_groups(tmp_path):
    path = tmp_path / "x.parquet"
    rows = [f"https://example.org/{n}.jpg" for n in range(10_000)]
    pq.write_table(pa.table({"url": rows}), path, row_group_size=300)
    assert urls(AddressList.open(NO_WEB, {}, str(path)), limit=10_000) == rows


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
def test_little_memory_is_needed_however_large_a_row_group_is(tmp_path):
    path, n_rows = tmp_path / "x.parquet", 150_000
    table = pa.table(
        {
            "url": [f"https://example.org/{n * 104_729:015}.jpg" for n in range(n_rows)],
            "text": [
                f"{n:09} an otter, with words of its own {n * 7919:015}" for n in range(n_rows)
            ],
            "embedding": [f"{n:0100}" for n in range(n_rows)],
        }
    )
    pq.write_table(table, path, row_group_size=n_rows, use_dictionary=False, compression="none")
    assert table.nbytes > 25_000_000
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from clipaudit.evaluation_sets.address_list import AddressList\n"
        "from clipaudit_crawlers.base import Query\n"
        "source = AddressList.open(None, {}, sys.argv[1])\n"
        "n = sum(1 for _ in source.search(Query(keyword='otter', limit=20_000)))\n"
        "status = Path('/proc/self/status').read_text()\n"  # getrusage begins at the parent's
        "print(n, int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "crawlers")])},
    )
    n, most_mb = map(int, done.stdout.split())
    assert n == 20_000
    assert most_mb < 400, "measured: 144 MB, 94 of them before the first row"


# --- what a keyword gives ------------------------------------------------------------------------

BY_KEYWORD = (
    f"url,keyword\n{A},Sea Otter\n{B},seal\n{C},sea_otter\n{D},sea otters\n"
    f"{A}?2,otter\n{A}?3,\n{A}?4,SEA-OTTER\n"
)


@pytest.mark.parametrize("keyword", ["sea otter", "Sea_Otter", "sea-otter", " SEA  OTTER "])
def test_a_column_of_keywords_gives_the_rows_of_just_that_one(listed, keyword):
    assert urls(listed(BY_KEYWORD), keyword) == [A, C, f"{A}?4"]


def test_keywords_are_compared_as_people_see_them(listed):
    source = listed(f"url,keyword\n{A},cafe\u0301\n{B},STRASSE\n")
    assert (urls(source, "Café"), urls(source, "straße")) == ([A], [B])


@pytest.mark.parametrize(
    ("caption", "keyword", "fits"),
    [
        ("A cat.", "cat", True),
        ("the CAT's tail", "cat", True),
        ("category theory", "cat", False),
        ("wildcat", "cat", False),
        ("two cats", "cat", False),
        ("an Aquarium-Fish", "aquarium_fish", True),
        ("an aquarium\n fish", "aquarium fish", True),
        ("a fish in an aquarium", "aquarium fish", False),
        ("learn C++ now", "c++", True),
        ("learn C now", "c++", False),
        ("any .*", ".*", True),
        ("any", ".*", False),
        ("cat_photo", "cat", False),
        ("", "cat", False),
    ],
)
def test_a_column_of_captions_gives_those_that_hold_the_words(listed, caption, keyword, fits):
    source = listed({"url": [A], "caption": [caption]}, "x.parquet")
    assert bool(urls(source, keyword)) is fits


def test_a_keyword_decides_where_there_is_a_caption_too(listed):
    source = listed(f"url,caption,keyword\n{A},an otter,seal\n{B},a seal,otter\n")
    assert urls(source) == [B]


def test_one_row_may_serve_two_keywords(listed):
    source = listed(f"url,caption\n{A},an otter and a seal\n")
    assert urls(source, "otter") == urls(source, "seal") == [A]


def test_without_either_the_rows_are_dealt_out_to_the_keywords(listed):
    rows = [f"https://example.org/{n}.jpg" for n in range(7)]
    source = listed("\n".join([rows[0], "no address", *rows]), "x.txt")
    shares = {}
    for place in (1, 0):  # who asks first does not count
        query = Query(keyword=str(place), limit=3, place=place, n_places=2)
        shares[place] = [one.image_url for one in source.search(query)]
    assert shares == {0: rows[0:6:2], 1: rows[1:6:2]}, "up to the limit"


def test_an_address_that_stands_there_twice_comes_once(listed):
    assert urls(listed(f"{A}\n{B}\n{A}\n{C}\n", "x.txt")) == [A, B, C]
    source = listed(f"url,keyword\n{A},otter\n{A},seal\n{A},otter\n")
    assert (urls(source), urls(source, "seal")) == ([A], [A])


def test_licences_choose_rows_where_there_is_a_column_of_them(listed):
    text = f"url,license\n{A},by\n{B},CC0 1.0\n{C},\n{D},BY-SA\n{D}?2,House rules\n"
    assert urls(listed(text), licenses=("by-sa", "CC0")) == [B, D]
    assert urls(listed(text), licenses=("house RULES",)) == [f"{D}?2"]
    with pytest.raises(InputError, match="under which licence") as caught:
        listed(f"url\n{A}\n").search(Query(keyword="otter", limit=1, licenses=("by",)))
    assert "license" in caught.value.hint


# --- what is wrong in a list ---------------------------------------------------------------------

NO_ADDRESSES = (
    "example.org/a.jpg",
    "ftp://example.org/a.jpg",
    "file:///etc/passwd",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "https://",
    "https://[::1/a.jpg",
    "https://exam ple.org/a.jpg",
    f"{A} {B}",
    "https://example.org/\x07.jpg",
)


@pytest.mark.parametrize("line", NO_ADDRESSES)
def test_a_line_that_is_no_address_is_passed_over_and_counted(listed, caplog, line):
    source = listed(f"{A}\n{line}\n{B}\n", "mine.txt")
    assert urls(source) == [A, B]
    (said,) = caplog.messages
    assert said.startswith("mine.txt: 1 of the 3 rows read so far hold no http or https address")
    assert "row 2" in said


def test_they_are_counted_once_and_said_once(listed, caplog):
    source = listed(f"url,keyword\nnone,otter\n{A},seal\n{B},otter\n,seal\n-,otter\n")
    assert (urls(source), urls(source, "seal"), urls(source)) == ([B], [A], [B])
    (said,) = caplog.messages
    assert "3 of the 5 rows" in said
    assert "row 1" in said


def test_two_readers_at_a_time_count_them_once(listed, caplog):
    source = listed(f"url,keyword\n-,otter\n{A},otter\n{B},otter\n")
    first = source.search(Query(keyword="otter", limit=9))
    assert next(first).image_url == A
    assert urls(source) == [A, B]
    assert [record.image_url for record in first] == [B]
    (said,) = caplog.messages
    assert "1 of the 3 rows" in said


def test_they_are_said_though_the_list_is_not_read_to_its_end(listed, caplog):
    source = listed(f"one\ntwo\n{A}\n{B}\nthree\n", "x.txt")
    records = source.search(Query(keyword="otter", limit=100))
    next(records)
    del records
    (said,) = caplog.messages
    assert "2 of the 3 rows" in said


def test_a_good_list_says_nothing(listed, caplog):
    assert urls(listed(f"{A}\n", "x.txt")) == [A]
    assert not caplog.messages


PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", "", "has no rows"),
        ("x.txt", " \r\n\n", "has no rows"),
        ("x.parquet", b"", "is no Parquet file"),
        (
            "x.csv",
            "link,text\nhere,there\n",
            "no column of 'x.csv' holds addresses; there are: 'link', 'text'",
        ),
        ("x.csv", "url:text\nhttps:x\n", "no column of 'x.csv' holds addresses"),
        ("x.csv", ",,\n,,\n", "no column of 'x.csv'"),
        ("x.csv", PNG, "is no text, but a binary file"),
        ("x.txt", PNG, "is no text, but a binary file"),
        ("x.tsv", gzip.compress(b"url\n" * 99, mtime=0), "is no text, but a binary file"),
        ("x.txt", f"{A}\n".encode("utf-16"), "is UTF-16 text"),
        ("x.parquet", "url\nnone\n", "is no Parquet file"),
        ("x.parquet", b"PAR1" + b"\0" * 99 + b"PAR1", "cannot be read"),
        ("x.jpg", PNG, "is neither Parquet, nor does it end in"),
        ("x", f"{A}\n", "is neither Parquet, nor does it end in"),
        ("x.txt", "x" * 5_000_000, "has no end"),
    ],
)
def test_a_bad_list_is_an_error_that_names_it(listed, name, content, said):
    with pytest.raises(InputError) as caught:
        search(listed(content, name))
    assert said in str(caught.value)
    assert name in str(caught.value)
    assert caught.value.hint.endswith(".")


@pytest.mark.parametrize(
    "row", ['"not closed', '"closed"twice', '"closed" ', 'in "the" midst', '"' + "x\n" * 9_999]
)
def test_an_odd_quote_hides_no_row_before_it(listed, row):
    assert urls(listed(f"url,text\n{A},otter\n{B},otter\n{C},{row}\n"))[:2] == [A, B]


def test_a_packed_list_is_read_as_it_is(listed):
    assert urls(listed(gzip.compress(f"url\n{A}\n".encode()), "x.csv.gz")) == [A]
    assert urls(listed(gzip.compress(f"{A}\n{B}\n".encode()), "x.txt.gz")) == [A, B]


def test_parquet_that_was_cut_off_is_an_error(listed, tmp_path):
    listed({"url": [A] * 5000}, "x.parquet")
    data = (tmp_path / "x.parquet").read_bytes()
    for at in (4, len(data) // 2, len(data) - 1):
        with pytest.raises(InputError, match=r"cannot be read|is no Parquet file"):
            search(listed(data[:at], "x.parquet"))


def test_parquet_with_broken_pages_is_an_error(tmp_path):
    path = tmp_path / "x.parquet"
    table = pa.table({"url": [f"https://example.org/{n}.jpg" for n in range(5000)]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[200:1200] = b"\xaa" * 1000
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"cannot be read|is no Parquet file"):
        search(AddressList.open(NO_WEB, {}, str(path)))


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("", "does not say which file"),
        ("  ", "does not say which file"),
        ("not/there.csv", "no such file"),
        ("a\0b.csv", "null"),
        ("~nobody-of-that-name/x.csv", "home directory"),
        (".", "is no file"),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error(argument, said):
    with pytest.raises(InputError) as caught:
        AddressList.open(NO_WEB, {}, argument)
    assert said in str(caught.value)


def test_a_pipe_does_not_make_it_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="is no plain file"):
        AddressList.open(NO_WEB, {}, str(tmp_path / "pipe.csv"))


def test_the_home_folder_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "list.txt").write_text(A)
    assert urls(AddressList.open(NO_WEB, {}, "~/list.txt")) == [A]


def test_a_list_that_is_gone_before_it_is_read_is_an_error(listed, tmp_path):
    for name, content in (("x.txt", A), ("x.csv", f"url\n{A}"), ("x.parquet", {"url": [A]})):
        source = listed(content, name)
        (tmp_path / name).unlink()
        with pytest.raises(InputError, match="cannot be read"):
            search(source)


PIECES = st.sampled_from(
    [b"url", b",", b"\t", b"\n", b'"', A.encode(), B.encode(), b"PAR1", b"text", b"otter"]
)


@pytest.mark.parametrize("ending", [".txt", ".csv", ".tsv", ".parquet"])
@given(content=st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b"".join)))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_in_a_file_it_gives_web_addresses_or_a_source_error(tmp_path, ending, content):
    path = tmp_path / f"x{ending}"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        for record in search(AddressList.open(NO_WEB, {}, str(path))):
            assert record.image_url.startswith(("https://", "http://"))
            json.dumps(asdict(record), ensure_ascii=False).encode()
