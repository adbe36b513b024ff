"""Fair teaching: training questions and no others reach the opponents, and the dense model learns by its formula."""

import itertools
import math
from copy import deepcopy
from random import Random

import pandas as pd
import pytest
import torch
from tiny_models import small_params
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from zmem_lib.opponents import tuned
from zmem_lib.opponents.bm25 import build_bm25, rank_bm25
from zmem_lib.opponents.dense import DOCUMENT, QUERY, load_encoder
from zmem_lib.params import changed

N = 12
ASKED = [f"asked{i}" for i in range(N)]  # words of questions: no passage has them
WORDS = ["[UNK]", "[PAD]", "who", "of", *ASKED, *[f"told{i}" for i in range(N)]]
PARAMS = small_params({"answer.dense_steps": 30})


@pytest.fixture
def docs():
    return pd.DataFrame(
        [{"doc_id": f"d{i}", "title": "", "text": f"of told{i}", "part": "new" if i == N - 1 else "seen"}
         for i in range(N)]
    )  # fmt: skip


@pytest.fixture
def questions():
    forms = {"train": "who", "dev": "of", "test": "who of"}
    rows = [(f"{form} asked{i}", split, [f"d{i}"]) for split, form in forms.items() for i in range(N - 1)]
    rows.append((f"who asked{N - 1}", "new-test", [f"d{N - 1}"]))
    return pd.DataFrame(rows, columns=["question", "split", "gold_doc_ids"])


@pytest.fixture(scope="module")
def small_encoder(tmp_path_factory):
    """The folder of a sentence encoder with random weights, whose tokens are WORDS."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **shape)).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(tuned, "LR", 1e-2)  # a model that knows nothing learns little in a few steps of a small rate


def test_only_training_questions_about_seen_documents_teach(docs, questions):
    rows = [("who told0", "train", [f"d{N - 1}", "d0"]), ("who told1", "train", [f"d{N - 1}"]), ("x", "train", ["?"])]
    more = pd.concat([questions, pd.DataFrame(rows, columns=questions.columns)])
    chosen = tuned.taught_questions(docs, more)
    assert set(chosen.split) == {"train"} and len(chosen) == N
    assert chosen.gold_doc_ids.iloc[-1] == ["d0"], "a new document teaches nothing"
    assert set(tuned.taught_questions(docs, more, "dev").split) == {"dev"}
    assert list(tuned.taught_questions(docs, more.iloc[:0]).columns) == list(more.columns)
    with pytest.raises(AssertionError, match="nothing is taught by"):
        tuned.taught_questions(docs, more, "test")


def test_a_passage_is_followed_by_its_training_questions_and_no_others(docs, questions):
    both = pd.DataFrame([("of told1 who", "train", ["d0", "d2"])], columns=questions.columns)
    texts = tuned.asked_passages(docs, pd.concat([questions, both]))
    assert texts[0] == "of told0\nwho asked0\nof told1 who" and texts[2].endswith("of told1 who")
    assert texts[1] == "of told1\nwho asked1"
    assert texts[-1] == f"of told{N - 1}", "a new document is as it was"


def test_bm25_finds_a_document_by_the_words_in_which_it_was_asked(docs, questions):
    index = build_bm25(list(docs.doc_id), tuned.asked_passages(docs, questions))
    ids, scores = rank_bm25(index, ["of asked3", f"asked{N - 1}"], 1)
    assert ids[0] == ["d3"] and scores[0][0] > 0 and scores[1] == [0.0]


def test_no_batch_holds_a_passage_that_is_right_for_two_questions():
    rng = Random(3)
    gold = [[f"d{rng.randrange(60)}" for _ in range(1 + i % 3)] for i in range(200)]
    drawn = list(itertools.islice(tuned.disjoint_batches(gold, Random(0)), 40))
    for batch in drawn:
        ids = [doc_id for row in batch for doc_id in set(gold[row])]
        assert len(ids) == len(set(ids)) and 1 < len(batch) <= tuned.BATCH
    times = [sum(batch.count(row) for batch in drawn) for row in range(len(gold))]
    assert min(times) >= 2, "all are drawn, those that had to wait too"
    assert drawn == list(itertools.islice(tuned.disjoint_batches(gold, Random(0)), 40))


def test_a_pass_takes_every_question_once_before_any_twice():
    gold = [[f"d{i}"] for i in range(4 * tuned.BATCH)]
    drawn = list(itertools.islice(tuned.disjoint_batches(gold, Random(1)), 4))
    assert sorted(itertools.chain(*drawn)) == list(range(len(gold)))


def test_the_loss_is_the_field_s_own(small_encoder):
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    encoder = load_encoder(small_encoder, "cpu").eval()
    asked, right = [f"who asked{i}" for i in range(4)], [f"of told{i}" for i in range(4)]
    mine = tuned.in_batch_loss(tuned.embed(encoder, asked, QUERY), tuned.embed(encoder, right, DOCUMENT))
    theirs = MultipleNegativesRankingLoss(encoder)([encoder.preprocess(asked), encoder.preprocess(right)], labels=None)
    assert mine.item() == pytest.approx(theirs.item(), abs=1e-5)
    by_hand = tuned.in_batch_loss(torch.eye(2), torch.eye(2)).item()
    assert by_hand == pytest.approx(math.log(1 + math.exp(-tuned.SCALE)), abs=1e-7)


def test_the_dense_model_learns_from_questions_and_ends_at_its_best_checkpoint(small_encoder, docs, questions, quick):
    encoder = load_encoder(small_encoder, "cpu")
    log = tuned.tune_encoder(encoder, questions, docs=docs, params=PARAMS)
    assert list(log.step) == list(range(31)) and log.loss[25:].mean() < log.loss[1:6].mean() / 2
    tried = log.dev_recall.dropna()
    assert list(tried.index) == [0, 10, 20, 30] and tried.max() > tried[0] + 0.4
    sample = tuned.dev_sample(tuned.taught_questions(docs, questions, "dev"), docs, PARAMS.seed)
    assert tuned.dev_recall(encoder, *sample) == tried.max()


def test_a_checkpoint_that_is_worse_on_dev_is_not_kept(small_encoder, docs, questions, quick, monkeypatch):
    found = iter([0.5, 0.9, 0.2, 0.4])
    seen = []
    monkeypatch.setattr(
        tuned, "dev_recall", lambda encoder, *_: seen.append(deepcopy(encoder.state_dict())) or next(found)
    )
    encoder = load_encoder(small_encoder, "cpu")
    tuned.tune_encoder(encoder, questions, docs=docs, params=PARAMS)
    same = [all(torch.equal(now, then[name]) for name, now in encoder.state_dict().items()) for then in seen]
    assert same == [False, True, False, False]


def test_tuning_follows_from_its_seed_and_from_no_held_out_question(small_encoder, docs, questions, quick):
    held_out = questions.split.isin(["test", "new-test"])
    other_questions = questions.assign(question=questions.question.mask(held_out, "who told0"))
    torch.manual_seed(1)
    first, again, other = (
        tuned.tune_encoder(load_encoder(small_encoder, "cpu"), table, docs=docs, params=changed(PARAMS, {"seed": seed}))
        for table, seed in ((questions, 7), (other_questions, 7), (questions, 8))
    )
    assert first.equals(again) and not first.equals(other)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1)), "the caller's random numbers go on as if nothing had been drawn"


def test_without_dev_questions_the_last_encoder_stays(small_encoder, docs, questions, quick):
    encoder = load_encoder(small_encoder, "cpu")
    before = deepcopy(encoder.state_dict())
    log = tuned.tune_encoder(encoder, questions[questions.split != "dev"], docs=docs, params=PARAMS)
    assert log.dev_recall.isna().all()
    assert not all(torch.equal(before[name], now) for name, now in encoder.state_dict().items())


def test_a_checkpoint_is_chosen_on_a_sample_that_holds_the_right_documents(docs, questions, monkeypatch):
    monkeypatch.setattr(tuned, "DEV_SAMPLE", 4)
    dev, candidates = tuned.dev_sample(tuned.taught_questions(docs, questions, "dev"), docs, 0)
    assert len(dev) == 4 and {ids[0] for ids in dev.gold_doc_ids} == set(candidates.doc_id)
    dev, candidates = tuned.dev_sample(dev.iloc[:1], docs, 0)
    assert len(candidates) == 4 and set(candidates.part) == {"seen"}


def test_what_a_killed_chapter_had_tuned_is_found_again_with_its_seconds(small_encoder, docs, questions, tmp_path):
    params = changed(PARAMS, {"answer.dense_model": small_encoder, "answer.dense_steps": 2, "machine.device": "cpu"})
    log, seconds = tuned.make_tuned(tmp_path, docs, questions, params=params)
    assert {path.suffix for path in (tmp_path / "dense_tuned").rglob("*") if path.is_file()} == {
        ".safetensors",
        ".json",
    }
    tuned_here = load_encoder(small_encoder, "cpu")
    tuned.tune_encoder(tuned_here, questions, docs=docs, params=params)
    saved = load_encoder(str(tmp_path / "dense_tuned"), "cpu")
    assert (tuned_here.encode(["who asked1"]) == saved.encode(["who asked1"])).all()
    made = [(path, path.stat().st_mtime_ns) for path in sorted(tmp_path.rglob("*"))]
    again, as_before = tuned.make_tuned(tmp_path, docs, questions, params=params)
    assert seconds == as_before > 0 and again.equals(log) and len(log) == 3
    assert made == [(path, path.stat().st_mtime_ns) for path in sorted(tmp_path.rglob("*"))]
    other, _ = tuned.make_tuned(tmp_path, docs, questions, params=changed(params, {"answer.dense_steps": 3}))
    assert len(other) == 4
    nothing, none = tuned.make_tuned(tmp_path, docs, questions, params=changed(params, {"answer.dense_steps": 0}))
    assert nothing.empty and none == 0
