"""The fixed texts of the four slides in English and Korean: format strings under the same keys, by language.

The sentences that page one has too (verdict, setting, names of systems) are those of wording.phrases.
"""

ENGLISH = {
    "problem.title": "Can learned blocks of vectors take the place of the vector database?",
    "problem.rag": "**Today:** retrieval-augmented generation keeps passages and an index of them, chooses some for a "
    "question, and puts their text before it.",
    "problem.idea": "**The idea:** every document becomes a small block of vectors, learned in front of one language "
    "model. At question time there is no text, and no index of text.",
    "problem.asked": "**What is asked:** is the right document found among all? Does what its block writes hold the "
    "answer? What of documents that come later? What does it cost?",
    "problem.fails": "**What would refute it:** another document's block does as well (a placebo), new documents are "
    "lost among the old ones, or passages chosen by BM25 or embeddings answer as well for less.",
    "model.title": "One block per document, trained together with the model",
    "model.train": "**Joint training:** L = −log p(evidence | z, question; θ), with the blocks z of {seen} documents "
    "and the model θ (its weights, or an adapter) learned together.",
    "model.train_z": "**Training:** L = −log p(evidence | z, question; θ), with the blocks z of {seen} documents "
    "learned and the model θ left as it is.",
    "model.write": "**Writing:** a new document gets its block by {write.steps} gradient steps on its text, from the "
    "start `{write.start}`, with the model frozen.",
    "model.choose": "**Choosing:** {select}.",
    "model.answer": "**Answering:** the model writes evidence from each chosen block (the {answer.top_k} best); a reader, the "
    "same for every system, answers from it.",
    "model.none": "This run has no memory: it compares the retrieval opponents alone.",
    "select.query_likelihood": "the block under which the question is likeliest, over all documents",
    "select.key": "the key nearest to the question's vector",
    "select.key_then_likelihood": "the {answer.shortlist} nearest keys, put in order by likelihood of the question and key",
    "select.generated_id": "the model generates the document's id, a path in a tree",
    "scheme.document": "document", "scheme.learn": "joint training,\nor gradient steps",
    "scheme.blocks": "a block z and a key\nper document", "scheme.question": "question",
    "scheme.choose": "choose blocks", "scheme.model": "language model\nreads z, question",
    "scheme.reader": "reader", "scheme.answer": "answer", "scheme.evidence": "evidence",
    "scheme.shows": "A document becomes a block and a key; a question chooses blocks, the model writes evidence from "
    "them, a reader answers from it",
    "fact.lm": "language model", "fact.scratch": "made here, {lm.layers} layers of width {lm.hidden_size}",
    "fact.docs": "documents, seen and new", "fact.counts": "{seen} + {new}",
    "fact.block": "block per document", "fact.tokens": "{memory.z_tokens} vectors",
    "fact.width": "{memory.z_tokens} vectors of width {memory.z_width}", "fact.key": "key per document",
    "fact.numbers": "{memory.key_width} numbers", "fact.steps": "training steps", "fact.write": "writing steps",
    "fact.none": "none", "setup.title": "Same questions, same reader, same budget for every system",
    "setup.rivals": "**Compared** ({n}): {names}.", "setup.controls": "**Controls** ({n}): {names}.",
    "setup.blind": "**Held out:** what is tuned is tuned on dev questions; no test question, and no question about a "
    "new document, is seen before the evaluation.",
    "setup.part": "test questions about", "setup.n": "answered", "results.title": "Results, and what they cost",
    "results.caption": "Mean and 95 % interval; {reference} against each other system, by the corrected test: ▲ the "
    "other is better, ▼ worse, = not told apart.",
    "results.quality": "Answer in evidence and exact answers by system and part, with 95 % intervals",
    "results.writing": "Answer in evidence against writing steps and milliseconds per document, with 95 % intervals",
    "link": "These results as four slides: {html}, {pptx}.", "link.html": "to look at here",
    "link.pptx": "for PowerPoint",
    "results.stored": "stored (MB)", "results.write": "write (s per document)", "results.answer": "answer (s)",
    "results.train": "**Cost:** joint training took {minutes} minutes on the machine of this run; z-memory stores "
    "{zmem} MB, BM25 {bm25} MB.",
}  # fmt: skip

KOREAN = {
    "problem.title": "학습된 벡터 블록이 벡터 데이터베이스를 대신할 수 있는가?",
    "problem.rag": "**현재:** 검색 증강 생성은 문단과 그 색인을 보관하고, 질문에 맞는 문단을 골라 원문을 질문 앞에 "
    "붙입니다.",
    "problem.idea": "**착상:** 문서마다 작은 벡터 블록을 하나의 언어 모델 앞에서 학습합니다. 질문할 때에는 원문도, "
    "원문의 색인도 사용하지 않습니다.",
    "problem.asked": "**질문:** 전체 문서 가운데 올바른 문서를 찾는가? 블록이 생성한 근거에 정답이 들어 있는가? 나중에 "
    "추가된 문서는 어떠한가? 비용은 얼마인가?",
    "problem.fails": "**반증 조건:** 다른 문서의 블록도 같은 성능을 내는 경우(플라시보), 새 문서가 기존 문서에 묻히는 "
    "경우, BM25나 임베딩으로 고른 문단이 더 적은 비용으로 같은 답을 내는 경우입니다.",
    "model.title": "문서마다 하나의 블록, 모델과 함께 학습",
    "model.train": "**공동 학습:** L = −log p(근거 | z, 질문; θ). 문서 {seen}개의 블록 z와 모델 θ(전체 가중치 또는 "
    "어댑터)를 함께 학습합니다.",
    "model.train_z": "**학습:** L = −log p(근거 | z, 질문; θ). 모델 θ는 그대로 두고 문서 {seen}개의 블록 z만 "
    "학습합니다.",
    "model.write": "**쓰기:** 새 문서의 블록은 모델을 고정한 채 시작점 `{write.start}`에서 출발하여 문서 원문에 대한 "
    "경사 하강 {write.steps}단계로 얻습니다.",
    "model.choose": "**선택:** {select}.",
    "model.answer": "**답변:** 선택한 블록(상위 {answer.top_k}개)마다 모델이 근거를 생성하고, 모든 시스템에 공통된 "
    "독해 모델이 그 근거로 답합니다.",
    "model.none": "이 실행에는 메모리가 없으며, 검색 시스템만 비교합니다.",
    "select.query_likelihood": "모든 문서 가운데 질문의 우도를 가장 높이는 블록을 선택합니다",
    "select.key": "질문 벡터에 가장 가까운 키를 선택합니다",
    "select.key_then_likelihood": "가장 가까운 키 {answer.shortlist}개를 질문의 우도와 키로 다시 정렬합니다",
    "select.generated_id": "모델이 문서의 식별자(트리의 경로)를 생성합니다",
    "scheme.document": "문서", "scheme.learn": "공동 학습\n또는 경사 하강", "scheme.blocks": "문서마다\n블록 z와 키",
    "scheme.question": "질문", "scheme.choose": "블록 선택", "scheme.model": "언어 모델\nz와 질문을 읽음",
    "scheme.reader": "독해 모델", "scheme.answer": "답", "scheme.evidence": "근거",
    "scheme.shows": "문서는 블록과 키가 되고, 질문으로 블록을 선택하면 모델이 근거를 생성하며, 독해 모델이 그 근거로 "
    "답합니다",
    "fact.lm": "언어 모델", "fact.scratch": "처음부터 학습, {lm.layers}층, 너비 {lm.hidden_size}",
    "fact.docs": "문서 수 (학습, 새 문서)", "fact.counts": "{seen} + {new}",
    "fact.block": "문서당 블록", "fact.tokens": "벡터 {memory.z_tokens}개",
    "fact.width": "너비 {memory.z_width}의 벡터 {memory.z_tokens}개", "fact.key": "문서당 키", "fact.numbers": "{memory.key_width}차원",
    "fact.steps": "학습 단계", "fact.write": "쓰기 단계", "fact.none": "없음",
    "setup.title": "모든 시스템에 같은 질문, 같은 독해 모델, 같은 예산",
    "setup.rivals": "**비교 시스템**({n}개): {names}.", "setup.controls": "**대조군**({n}개): {names}.",
    "setup.blind": "**분리:** 조정은 dev 질문으로만 하였으며, 테스트 질문과 새 문서에 대한 질문은 평가 전에 사용하지 "
    "않았습니다.",
    "setup.part": "테스트 질문의 대상", "setup.n": "답변한 질문 수", "results.title": "결과와 비용",
    "results.caption": "평균과 95 % 신뢰구간. 보정된 검정에 따른 {reference} 대비 결과: ▲ 우세, ▼ 열세, = 차이 미확인.",
    "results.quality": "시스템과 질문 집합별 근거 내 정답 포함 비율과 정확 일치 비율, 95 % 신뢰구간",
    "results.writing": "쓰기 단계와 문서당 밀리초에 따른 근거 내 정답 포함 비율, 95 % 신뢰구간",
    "link": "이 결과를 요약한 슬라이드 4장: {html}, {pptx}.", "link.html": "브라우저에서 보기",
    "link.pptx": "PowerPoint 파일",
    "results.stored": "저장 (MB)", "results.write": "쓰기 (초/문서)", "results.answer": "응답 (초)",
    "results.train": "**비용:** 이 실행을 수행한 컴퓨터에서 공동 학습에 {minutes}분이 걸렸습니다. 저장 용량은 z-메모리 "
    "{zmem} MB, BM25 {bm25} MB입니다.",
}  # fmt: skip

SLIDES = {"en": ENGLISH, "ko": KOREAN}
