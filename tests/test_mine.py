"""Own documents without questions, the whole way with the packaged model: asked about, learned, written, shown."""

import pytest

from zmem_lib.run import main

TEXTS = {
    "bees.md": "# Hive\nThe hive of Orla Finch stands behind the old mill. It was built in 1962.\n\n"
    "# Honey\nHer honey is sold in Larkham every Saturday.",
    "boat.txt": "The ferry Marigold crosses the Tarn twice a day. Its captain is Edda Brook.",
}
FEW = ["train.steps=1", "write.steps=1", "corpus.own_questions=3", "memory.z_tokens=8", "run=small"]


@pytest.mark.long
def test_a_folder_of_texts_goes_the_whole_way(tmp_path, capsys):
    (tmp_path / "texts").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "texts" / name).write_text(text, encoding="utf-8")
    command = ["run", "params/mine.yaml", "--runs", str(tmp_path / "runs"), "--book", "--out", str(tmp_path / "book")]
    assert main([*command, "--set", f"corpus.path={tmp_path / 'texts'}", *FEW]) == 0, capsys.readouterr().err
    assert "nothing is measured" in capsys.readouterr().out
    page = (tmp_path / "book/_build/html/index.html").read_text(encoding="utf-8")
    assert "Nothing here says how good it is" in page and "3 passages of 2 files" in page and "boat.txt" in page
    assert main(["ask", "small", "Who is the captain of the Marigold?", "--runs", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().out
    assert "zmem: answer" in said and "boat.txt#1" in said and "bm25" not in said
    for command in ("score", "keep"):
        assert main([command, "small", "--runs", str(tmp_path / "runs")]) == 2
        assert "run small is about texts without any" in capsys.readouterr().err
