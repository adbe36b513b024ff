"""The front page of a run over texts that came without questions: what it holds, and that nothing was measured."""

from pathlib import Path

import pandas as pd

from zmem_lib.chapters import read_manifest
from zmem_lib.data.texts import OWN
from zmem_lib.files import must_exist, read_json, write_atomic
from zmem_lib.memory.table import load_z
from zmem_lib.meter import about
from zmem_lib.params import read_params
from zmem_lib.report.tables import text_table
from zmem_lib.report.wording import template
from zmem_lib.systems.systems import z_files
from zmem_lib.tables import read_table

PAGE = "untested"


def write_untested(run: Path, page: Path) -> None:
    """Write the page of the run in a folder, in Markdown."""
    params, docs = read_params(run / "params.yaml"), read_table(run / "docs.parquet", "docs")
    asked = read_json(must_exist(run / OWN))
    named = docs.assign(file=docs["doc_id"].str.rpartition("#")[0], words=docs["text"].str.split().str.len())
    questions = pd.Series([row["gold_doc_ids"][0] for row in asked["questions"]], dtype=str)
    of_file = questions.str.rpartition("#")[0].value_counts()
    table = named.groupby("file", sort=False)["words"].agg(passages="size", words="sum").reset_index()
    table["questions kept"] = table["file"].map(of_file).fillna(0).astype(int)
    z, seconds = load_z(run / z_files(params)[0])[1], [(read_manifest(run, n) or {}).get("seconds", 0) for n in (3, 4)]
    text = template(f"{PAGE}_{params.report.language}.md.j2").render(
        run=params.run, passages=f"{len(docs):,}", files=f"{len(table):,}", words=f"{named['words'].mean():.0f}",
        block_kib=f"{z[0].nbytes / 1024:,.1f}", kept=f"{len(questions):,}",
        asked=f"{len(docs) * params.corpus.own_questions:,}", learning=about(seconds[0]), writing=about(seconds[1]),
        table=text_table(table, params, {"files": len(table), "passages": len(docs)}).data,
    )  # fmt: skip
    write_atomic(page, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))
