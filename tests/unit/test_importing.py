"""Rows of a person's own file become posts and users; what cannot be used is named by its line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raylike.commits import Commit
from raylike.errors import ConfigError, InputDataError
from raylike.importing import NOT_KNOWN, import_table
from raylike.tables import POSTS
from raylike.workspace import Workspace


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files a.jpg to e.jpg; an import does not look into them."""
    for name in "abcde":
        (tmp_path / f"{name}.jpg").write_bytes(b"a photo")
    return tmp_path


@pytest.fixture
def workspace(workspace_path: Path) -> Workspace:
    return Workspace(workspace_path)


def write(folder: Path, text: str, name: str = "photos.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def posts(workspace: Workspace) -> list[dict[str, Any]]:
    return workspace.read("posts").sort_by("image_url").to_pylist()


def followers(workspace: Workspace) -> dict[str, int]:
    users = workspace.read("users")
    return dict(zip(users["user_id"].to_pylist(), users["followers"].to_pylist(), strict=True))


def test_the_smallest_file_will_do(folder: Path, workspace: Workspace) -> None:
    report = import_table(workspace, write(folder, "image,likes,followers\na.jpg,3,100\nb.jpg,0,7\n"))
    assert (report.rows_in, report.posts, report.users, dict(report.rejected)) == (2, 2, 2, {})
    first, second = posts(workspace)
    assert first["image_url"] == str(folder / "a.jpg")
    assert (first["likes"], first["provider"], first["created_at"]) == (3, "files", NOT_KNOWN)
    assert first["user_id"] == first["post_id"] != second["post_id"]
    assert followers(workspace) == {first["user_id"]: 100, second["user_id"]: 7}
    last = workspace.last_commit("posts")
    assert last is not None
    assert (last.stage, last.complete) == ("import", True)


def test_all_columns_are_taken(folder: Path, workspace: Workspace) -> None:
    import_table(workspace, write(folder, (
        "post_id,user_id,image,likes,followers,created_at,caption,tags\n"
        'p1,u1,a.jpg,3,100,2015-06-01T12:00:00+02:00,"me, myself\nand ""I""",#me #selfie\n'
        "p2,u1,https://photos.example/x.jpg,4,100,1433160000,,\n"
    )))  # fmt: skip
    first, second = posts(workspace)
    assert first["post_id"] == "p1"
    assert first["created_at"] == datetime(2015, 6, 1, 10, tzinfo=UTC)
    assert first["caption"] == 'me, myself\nand "I"'
    assert first["tags"] == ["me", "selfie"]
    assert second["image_url"] == "https://photos.example/x.jpg"
    assert second["created_at"] == datetime(2015, 6, 1, 12, tzinfo=UTC)
    assert (second["caption"], second["tags"]) == (None, [])
    assert followers(workspace) == {"u1": 100}


def test_three_formats_give_the_same_tables(folder: Path, workspace_path: Path) -> None:
    rows = [
        {"image": "a.jpg", "likes": 3, "followers": 10, "user_id": "u", "tags": ["x", "y"]},
        {"image": "b.jpg", "likes": 5, "followers": 10, "user_id": "u", "tags": []},
    ]
    files = [
        write(folder, "image,likes,followers,user_id,tags\na.jpg,3,10,u,x y\nb.jpg,5,10,u,\n"),
        write(folder, "\n".join(map(json.dumps, rows)), "photos.jsonl"),
        folder / "photos.parquet",
    ]
    pq.write_table(pa.Table.from_pylist(rows), files[2])
    tables = []
    for i, file in enumerate(files):
        workspace = Workspace(workspace_path / str(i))
        import_table(workspace, file)
        tables.append([{k: v for k, v in row.items() if k != "collected_at"} for row in posts(workspace)])
    assert tables[0] == tables[1] == tables[2]


def test_bad_rows_are_named_by_line_and_left_out(folder: Path, workspace: Workspace) -> None:
    report = import_table(workspace, write(folder, (
        "post_id,image,likes,followers,caption\n"  # 1
        'p1,a.jpg,1,10,"two\nlines"\n'  # 2 and 3
        "p2,missing.jpg,1,10,\n"
        "p3,b.jpg,many,10,\n"
        "p4,b.jpg,-1,10,\n"
        "p5,b.jpg,1,0,\n"
        "\n"
        "p6,b.jpg,1.5,10,\n"
        "p7,b.jpg,,10,\n"
        "p1,b.jpg,1,10,\n"
        "p8,b.jpg,1\n"
        "p9,,1,10,\n"
        ",b.jpg,1,10,\n"
        "p10,b.jpg,1,10,\n"
    )))  # fmt: skip
    assert [(problem.line, problem.reason) for problem in report.problems] == [
        (4, "no such file"),
        (5, "likes not a number"),
        (6, "likes negative"),
        (7, "zero followers"),
        (9, "likes not a whole number"),
        (10, "no likes"),
        (11, "duplicate post_id"),
        (12, "unreadable"),
        (13, "no image"),
        (14, "no post_id"),
    ]
    assert report.rejected["no such file"] == 1
    assert sum(report.rejected.values()) == 10
    assert str(report.problems[0]) == "4: no such file: missing.jpg"
    assert [post["post_id"] for post in posts(workspace)] == ["p1", "p10"]


@pytest.mark.parametrize(
    "text", ["nan", "inf", "1e400", "1,000", "0x10", "true", "٣x", "9" * 30, "9" * 9000, "1_000 "]
)
def test_odd_numbers_are_refused(folder: Path, workspace: Workspace, text: str) -> None:
    report = import_table(workspace, write(folder, f'image;likes;followers\na.jpg;1;10\nb.jpg;"{text}";10\n'))
    assert sum(report.rejected.values()) == 1


@pytest.mark.parametrize("text", ["12", " 12 ", "12.0", "+12", "1.2e1"])
def test_whole_numbers_in_any_spelling_are_taken(folder: Path, workspace: Workspace, text: str) -> None:
    import_table(workspace, write(folder, f"image,likes,followers\na.jpg,{text},10\n"))
    assert posts(workspace)[0]["likes"] == 12


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"image": "b.jpg", "likes": true, "followers": 1}', "likes not a number"),
        ('{"image": "b.jpg", "likes": [1], "followers": 1}', "likes not a number"),
        ('{"image": "b.jpg", "followers": 1}', "no likes"),
        ('{"image": null, "likes": 1, "followers": 1}', "no image"),
        (
            '{"image": "b.jpg", "likes": 1, "followers": 1, "created_at": "yesterday"}',
            "created_at not a date",
        ),
        ('{"image": "b.jpg", "likes": 1, "followers": 1, "created_at": 1e300}', "created_at not a date"),
        ('{"image": "b\\u0000.jpg", "likes": 1, "followers": 1}', "no such file"),
        ("[1, 2]", "unreadable"),
        ("{", "unreadable"),
    ],
)
def test_bad_objects_are_named(folder: Path, workspace: Workspace, line: str, reason: str) -> None:
    good = '{"image": "a.jpg", "likes": 1, "followers": 1, "created_at": ""}'
    report = import_table(workspace, write(folder, f"{good}\n{line}\n", "photos.jsonl"))
    assert dict(report.rejected) == {reason: 1}
    assert report.problems[0].line == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(folder: Path, workspace: Workspace, encoding: str) -> None:
    text = "image,likes,followers,caption\r\na.jpg,1,2,Grüße aus Köln\r\n"
    report = import_table(workspace, write(folder, text, encoding=encoding))
    assert posts(workspace)[0]["caption"] == "Grüße aus Köln"
    assert bool(report.notes) == (encoding == "cp1252")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters(folder: Path, workspace: Workspace, delimiter: str) -> None:
    text = "image,likes,followers\na.jpg,1,2\n".replace(",", delimiter)
    assert import_table(workspace, write(folder, text)).posts == 1


def test_columns_can_be_mapped_and_case_does_not_matter(folder: Path, workspace: Workspace) -> None:
    path = write(folder, "Image,like_count,FOLLOWERS,likes\na.jpg,5,10,99\n")
    import_table(workspace, path, column_map={"likes": "like_count"})
    assert posts(workspace)[0]["likes"] == 5


def test_paths_start_from_the_images_folder(
    folder: Path, workspace: Workspace, tmp_path_factory: Any
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path = write(elsewhere, f"image,likes,followers\na.jpg,1,2\n{folder / 'b.jpg'},1,2\n")
    import_table(workspace, path, images=folder)
    assert [post["image_url"] for post in posts(workspace)] == [str(folder / "a.jpg"), str(folder / "b.jpg")]


def test_ids_do_not_depend_on_where_the_folder_lies(
    folder: Path, workspace_path: Path, tmp_path_factory: Any
) -> None:
    other = tmp_path_factory.mktemp("copy")
    (other / "a.jpg").write_bytes(b"a photo")
    ids = []
    for i, place in enumerate((folder, other)):
        workspace = Workspace(workspace_path / str(i))
        import_table(workspace, write(place, "image,likes,followers\na.jpg,1,2\n"))
        ids.append(posts(workspace)[0]["post_id"])
    assert ids[0] == ids[1]


def test_one_account_has_one_number_of_followers(folder: Path, workspace: Workspace) -> None:
    text = "image,likes,followers,user_id\na.jpg,1,10,u\nb.jpg,1,30,u\nc.jpg,1,20,u\nd.jpg,1,5,v\n"
    report = import_table(workspace, write(folder, text))
    assert followers(workspace) == {"u": 20, "v": 5}
    assert report.notes == ("1 accounts with different numbers of followers: the median counts",)


def test_the_same_image_twice_is_one_post(folder: Path, workspace: Workspace) -> None:
    report = import_table(workspace, write(folder, "image,likes,followers\na.jpg,1,10\na.jpg,2,10\n"))
    assert dict(report.rejected) == {"duplicate image": 1}


def test_importing_again_replaces(folder: Path, workspace: Workspace) -> None:
    import_table(workspace, write(folder, "image,likes,followers\na.jpg,1,10\nb.jpg,1,10\n"))
    first = workspace.last_commit("posts")
    import_table(workspace, write(folder, "image,likes,followers\nc.jpg,1,10\n"))
    again = workspace.last_commit("posts")
    assert [post["image_url"] for post in posts(workspace)] == [str(folder / "c.jpg")]
    assert len(followers(workspace)) == 1
    assert first is not None
    assert again is not None
    assert first.fingerprint != again.fingerprint


def test_collected_posts_are_not_replaced(folder: Path, workspace: Workspace) -> None:
    workspace.write("posts", POSTS.empty(), Commit("collect", "f"))
    with pytest.raises(ConfigError, match="collected"):
        import_table(workspace, write(folder, "image,likes,followers\na.jpg,1,10\n"))


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("image,likes,followers\n", "photos.csv", "no usable row: it is empty"),
        ("image,likes,followers\nx.jpg,1,1\n", "photos.csv", "no usable row: no such file 1"),
        ("image,like,followers\na.jpg,1,1\n", "photos.csv", "did you mean like"),
        ("", "photos.csv", "no header"),
        ("\n\n", "photos.jsonl", "no JSON object"),
        ("no parquet", "photos.parquet", "not valid Parquet"),
    ],
)
def test_a_file_without_a_usable_row_is_bad_input(
    folder: Path, workspace: Workspace, text: str, name: str, message: str
) -> None:
    with pytest.raises(InputDataError, match=message) as caught:
        import_table(workspace, write(folder, text, name))
    assert caught.value.exit_code == 65
    assert not workspace.exists("posts")


def test_wrong_use_is_a_config_error(folder: Path, workspace: Workspace) -> None:
    path = write(folder, "image,likes,followers\na.jpg,1,10\n")
    with pytest.raises(ConfigError, match="did you mean likes"):
        import_table(workspace, path, column_map={"like": "likes"})
    with pytest.raises(InputDataError, match="no column 'hearts'"):
        import_table(workspace, path, column_map={"likes": "hearts"})
    with pytest.raises(ConfigError, match="no folder"):
        import_table(workspace, path, images=folder / "nowhere")
    with pytest.raises(ConfigError, match="unknown kind"):
        import_table(workspace, folder / "a.jpg")
    with pytest.raises(InputDataError, match="cannot be read"):
        import_table(workspace, folder / "nowhere.csv")
