"""Page one in Korean: the same keys and placeholders as phrases_en.py, and the names of systems in a sentence.

Particles follow fixed nouns, never a placeholder whose last sound is not known.
"""

PHRASES = {
    # the prose cells of notebook 07, by their id
    "cell.cell-00": "# 결과 요약\n\n문서마다 학습된 벡터 블록 하나를 갖는 소형 언어 모델이 검색 증강 생성(RAG)의 "
    "벡터 데이터베이스를 대신할 수 있는가?\n\n**z-메모리**는 문서마다 원문 대신 짧은 벡터 블록 $z$를 저장하며, 이 "
    "블록은 그로부터 근거를 생성하는 모델과 함께 학습됩니다. 새 문서의 블록은 모델을 고정한 채 몇 번의 경사 "
    "단계만으로 얻습니다. BM25와 밀집 검색, 그리고 이들의 융합은 같은 질문에 대해 원문 문단을 선택합니다. 답변을 "
    "비교할 때에는 모두 같은 독해 모델이 작성합니다.",
    "cell.page-verdict": "## 결론", "cell.page-table": "## 주요 수치", "cell.page-costs": "## 비용",
    "cell.page-plots": "## 네 가지 그림", "cell.page-controls": "## 대조 실험", "cell.page-limits": "## 한계",
    "cell.page-changed": "## 같은 이름의 직전 실행과 달라진 점",
    # the verdict
    "verdict.found": "**문서 검색**(정답 문서가 1위인 비율, recall@1): {parts}.",
    "verdict.exact": "**답변**(정확 일치, EM): {parts}.", "verdict.join": ". ",
    "verdict.better": "{part}(n = {n})에서 {name}의 값({value})은 {rival}의 값({rival_value})보다 유의하게 "
    "높습니다{rest}",
    "verdict.worse": "{part}(n = {n})에서 {name}의 값({value})은 {rival}의 값({rival_value})보다 유의하게 "
    "낮습니다{rest}",
    "verdict.same": "{part}(n = {n})에서 {name}의 값({value})과 {rival}의 값({rival_value}) 사이에는 유의한 차이가 "
    "확인되지 않습니다{rest}",
    "verdict.rest": "(비교 대상은 나머지 {others}개 시스템 중 최고값이며, 전체로는 우세 {better}, 열세 {worse}, "
    "차이 미확인 {same})",
    "verdict.leader": "{part}(n = {n})에서 {name}의 값({value})이 가장 높으며, 나머지 {others}개 시스템 중 "
    "{better}개와 유의하게 구별됩니다",
    "verdict.alone": "{part}(n = {n})에서 {name}의 값은 {value}이며, 비교할 다른 시스템이 없습니다",
    "verdict.nothing": "{part}(n = {n})에서는 답변으로 우열을 가릴 수 없습니다. 정답 문단을 받은 경우를 포함하여 "
    "정확 일치 비율이 {most}보다 높은 시스템이 없습니다",
    "verdict.few": "{part}에서는 질문이 너무 적어(n = {n}) 어떤 차이도 확인할 수 없습니다({name}의 값은 {value})",
    "verdict.none": "이 실행에서는 문서를 스스로 찾아야 하는 시스템을 비교하지 않았습니다.",
    "fused": "**BM25와 밀집 검색의 융합, {part}** (recall@1, n = {n}): 순위로 융합하면 {rank}로, {strong} "
    "단독({strong_value}) 대비 {rank_side}. 점수의 가중합으로 융합하면 {score}로, {strong} 단독 대비 {score_side}.",
    "fused.weak": " 순위 융합은 두 순위에 같은 비중을 주므로 {weak}({weak_value}) 쪽이 {strong}의 결과를 "
    "끌어내립니다. 가중합의 가중치는 dev 질문으로 정합니다.",
    "fused.better": "더 낫습니다", "fused.worse": "더 못합니다", "fused.same": "차이가 확인되지 않습니다",
    "verdict.rule": "우열은 대응표본 순열 검정만으로 판단하며, 같은 질문 집합과 지표에 속한 모든 시스템 쌍에 대해 "
    "Holm 방법으로 보정하였습니다(p < {level}).",
    # what was run
    "setting": "말뭉치 `{corpus}`: 학습 문서 {seen}개와 테스트 질문 {test}개{apart}, 새 문서 {new}개와 테스트 질문 "
    "{new_test}개. {block}모든 시스템은 전체 문서 {all}개 가운데에서 문서를 고르고, 상위 {top_k}개 문서의 근거를 "
    "각각 최대 {tokens}토큰까지 독해 모델에 전달합니다.",
    "setting.apart": "(그중 {n}개는 학습 질문이 없는 *미질의 문서*에 대한 질문)",
    "setting.block": "문서당 블록은 소프트 토큰 {z_tokens}개입니다. ",
    # controls
    "control.placebo": "**플라시보 대조, {part}**(n = {n}): 생성된 근거에 정답이 포함된 비율은 올바른 z를 주었을 때 "
    "{right}, 대조 조건({wrong_name})에서 {wrong}입니다. 두 값의 차이는 {gap}입니다. {meaning}.",
    "control.works": "생성된 내용은 해당 문서의 z에서 비롯된 것으로 판단됩니다",
    "control.unsure": "이 표본 크기에서는 해당 문서의 z가 미치는 효과를 확인할 수 없습니다",
    "control.fails": "올바른 z가 잘못된 z보다 못하므로, 여기서는 메모리가 작동하지 않습니다",
    "control.reader": "**독해 모델, {part}**(n = {n}): 정확 일치 비율은 근거가 없을 때 {closed}, 정답 문단을 주었을 "
    "때 {gold}입니다.",
    "control.kept": "**보존율, {part}**(n = {n}): 근거가 없을 때에 비해 정답 문단이 높여 주는 F1 {gain} 가운데 "
    "올바른 z가 보존하는 비율은 {value}입니다.",
    "control.none": "이 실행에는 메모리가 없으므로 메모리에 대한 대조군도 없습니다.",
    # limits
    "limit.run": "시드 {seed}의 단일 실행 결과입니다. 신뢰구간은 질문에 대한 것이며, 시드에 따른 변동은 포함하지 "
    "않습니다.",
    "limit.power": "이 질문 수로는 보정 후 검정력 {power} %에서 다음 크기 이상의 차이를 검출할 수 있습니다(z-메모리, "
    "메모리가 없으면 BM25와 짝지은 모든 쌍의 최솟값과 최댓값): {parts}. 더 작은 차이는 놓칠 수 있으므로, 차이가 "
    "확인되지 않았다고 해서 성능이 같다는 뜻은 아닙니다.",
    "limit.shown": "{part}(n = {n}) {least}", "limit.least": "{metric} {size}", "limit.over": "1 초과",
    "limit.sample": "테스트 질문 중 고정된 표본에만 답하였습니다: {parts}.", "limit.of": "{part} {all}개 중 {n}개",
    "limit.synthetic": "말뭉치는 프로그램으로 생성한 것입니다. 여기서 얻은 결과가 자연 텍스트에서도 성립한다고 볼 "
    "수는 없습니다.",
    "limit.size": "문서는 모두 {all}개입니다. 훨씬 많은 문서 가운데에서 찾는 일은 더 어렵고, 그 정도는 시스템마다 "
    "다릅니다.",
    "limit.favoured": "학습 문서에 관한 질문(n = {n})에서 z-메모리가 새 문서를 1위로 고른 비율은 {value}입니다{rival}. "
    "전체 {all}개 중 {new}개가 새 문서입니다. 곧 새 문서를 선호하며, 그만큼 새 문서의 검색 수치는 높아지고 학습 문서의 "
    "수치는 낮아집니다.",
    "limit.favoured_rival": "(BM25는 {value})",
    "limit.reader": "모든 시스템의 답변은 하나의 독해 모델({reader})이 작성합니다. 독해 모델이 제대로 읽지 못하는 "
    "경우에는 정확 일치보다 재현율과 근거 지표가 더 많은 것을 알려 줍니다.",
    "limit.scratch": "이 실행에서 처음부터 학습한 모델",
    "limit.unread": "이 실행에는 언어 모델이 없어 아무도 근거를 읽지 않습니다. 검색이 무엇을 찾는지, 그 안에 정답이 "
    "있는지를 재며, 독해 결과는 재지 않습니다.",
    "limit.budget": "근거 예산은 {top_k} × {tokens}토큰입니다. 예산이 달라지면 순위도 달라질 수 있습니다.",
    # what changed
    "changed.first": "이 이름으로 처음 실행한 결과이므로 비교할 이전 실행이 없습니다.",
    "changed.same": "비교 대상: {where}. 달라진 매개변수가 없고, 신뢰구간이 이전 값을 벗어난 지표도 없습니다.",
    "changed.since": "비교 대상: {where}.", "changed.previous": "실행 폴더에 남아 있는 직전 실행",
    "changed.kept": "`results/runs/{run}`에 보관된 실행", "changed.params": "달라진 매개변수: {names}.",
    "changed.no_params": "달라진 매개변수는 없습니다.", "changed.param": "`{name}`(이전 {before}, 현재 {now})",
    "changed.values": "값 {all}개 중 {moved}개에서 새 신뢰구간이 이전 값을 포함하지 않습니다{cut}.",
    "changed.cut": "(변화가 가장 큰 {shown}개만 표시)",
    "changed.caption": "달라진 값: 이전 값, 그리고 질문 n개에 대한 현재 값과 95 % 신뢰구간.",
    # the headline table
    "head.caption": "질문 n개에 대한 평균과 95 % 부트스트랩 신뢰구간: {sizes}. 보정된 검정에 따른 {reference} 대비 "
    "결과: ▲ 우세, ▼ 열세, = 차이 미확인; 표시 없음: 검정하지 않음(대조군은 문서를 찾을 필요가 없음). 근거 항목 "
    "수와 근거 토큰 수는 독해 모델이 질문마다 받는 양입니다.",
    "head.size": "{part} n = {n}{least}",
    "head.least": "(검정력 {power} %에서 검출 가능한 차이: {least})", "head.items": "근거 항목 수",
    "head.tokens": "근거 토큰 수", "head.as_fits": "가능한 만큼",
    # the cost table
    "cost.caption": "이 실행을 수행한 컴퓨터에서 측정한 값이며, 줄표는 측정하지 않았거나 해당 사항이 없음을 "
    "뜻합니다. 학습: 3장; 쓰기: 새 문서 하나를 블록에 쓰는 시간으로 초기화를 포함하며, {write}; 색인: 색인 구축 "
    "시간으로 미세조정한 인코더는 그 학습을 포함; 응답: 문서 선택과 독해, 질문 n개의 평균. 저장: 말뭉치와 함께 "
    "커지는 부분. 최대 메모리: 응답하는 동안 전체 프로세스의 최댓값. 토큰은 질문 하나에 대해 언어 모델이 읽고 쓰는 "
    "수입니다. 비용: 외부 주소에 지불한 달러이며, 이 컴퓨터에서 수행한 것은 0입니다.",
    "cost.write_none": "이 실행에서는 수행하지 않음", "cost.write_start": "시작점은 <code>{start}</code>",
    "cost.train": "학습 (초)", "cost.write": "쓰기 (초/문서)", "cost.index": "색인 (초)",
    "cost.answer": "응답 (초/질문)", "cost.stored": "저장 (MB)", "cost.memory": "최대 메모리 (GB)",
    "cost.input": "입력 토큰", "cost.output": "출력 토큰", "cost.money": "비용 ($/질문 1,000개)", "cost.n": "n",
    # plots
    "plot.quality": "질문 비율", "plot.in_evidence": "근거 내 정답 포함", "plot.exact": "정확 일치",
    "plot.quality_alt": "품질: 시스템별로 근거에 정답이 포함된 질문의 비율과 정확히 일치한 답의 비율, 95 % "
    "신뢰구간. {values}",
    "plot.recall_x": "살펴본 문서 수 (k)", "plot.recall_y": "recall@k (비율)",
    "plot.recall_alt": "검색: 정답 문서가 상위 1, 5, 20개 안에 있는 질문의 비율, 시스템별, 95 % 신뢰구간. {values}",
    "plot.write_y": "근거 내 정답 포함\n(비율, 올바른 z 제공)", "plot.write_step": "쓰기 단계",
    "plot.write_ms": "문서당 밀리초 (초기화 포함)", "plot.write_title": "새 문서, new-dev 질문 (n = {n})",
    "plot.start": "시작점: {start}",
    "plot.write_alt": "새 문서 쓰기: 올바른 블록이 생성한 근거에 정답이 포함된 new-dev 질문의 비율을 쓰기 단계와 "
    "문서당 밀리초에 따라 나타낸 곡선, 95 % 신뢰구간. {values}",
    "plot.panel": "{part}\n(n = {n})", "plot.value": "{name}, {part}: {value}",
    "plot.no_writing": "이 실행에서는 새 문서를 쓰지 않았습니다.",
    "plot.no_noise": "이 실행에서는 잡음 실험을 수행하지 않았습니다(`answer.noise_questions`).",
    "plot.noise_alt": "잡음: 근거 항목 가운데 교체한 비율이 커질 때 답변의 F1, 시스템별, 95 % 신뢰구간. {values}",
    "plot.noise_value": "{name}, {part}, {kind}: 교체하지 않을 때 {first}, {share} %일 때 {last}",
    "kind.changed answer": "오답이 담긴 문서로 교체", "kind.hard negative": "유사 문서로 교체",
    "plot.noise_y": "F1 (평균, 0–1)", "plot.noise_x": "교체한 근거 항목 (%)",
    "plot.noise_panel": "{part} (n = {n})\n{kind}",
    # names
    "part.seen": "학습 문서", "part.unasked-document": "미질의 문서", "part.new": "새 문서", "metric.em": "정확 일치",
    "metric.f1": "F1", "metric.answer_in_evidence": "근거 내 정답 포함", "metric.recall@1": "recall@1",
    "column.system": "시스템", "column.part": "질문 집합", "column.measure": "지표", "column.before": "이전",
    "column.now": "현재", "column.n": "n", "row.zmem": "z-메모리", "row.zmem+text": "z 선택 후 원문",
    "row.zmem+bm25": "z와 BM25 융합", "row.zmem-oracle": "올바른 z", "row.zmem-shuffled": "다른 문서의 z",
    "row.zmem-similar": "유사 문서의 z", "row.zmem-random": "무작위 z", "row.zmem-text": "올바른 z와 원문",
    "row.bm25": "BM25", "row.bm25-asked": "BM25 + 학습 질문", "row.dense": "밀집 검색",
    "row.dense-tuned": "밀집 검색 (미세조정)", "row.hybrid-rrf": "순위 융합", "row.hybrid": "점수 융합",
    "row.hybrid+rerank": "교차 인코더", "row.lm-rerank": "LM 재순위화", "row.text-twin": "텍스트 대응 모델",
    "row.long-context": "긴 문맥", "row.gold-passage": "정답 문단", "row.closed-book": "근거 없음",
    "system.zmem": "z-메모리", "system.zmem-oracle": "올바른 z를 받은 z-메모리",
    "system.zmem-shuffled": "다른 문서의 z", "system.zmem-similar": "가장 유사한 다른 문서의 z",
    "system.zmem-random": "무작위 z", "system.zmem-text": "올바른 z와 해당 원문", "system.bm25": "BM25",
    "system.bm25-asked": "학습 질문을 덧붙인 BM25", "system.dense": "밀집 검색",
    "system.dense-tuned": "학습 질문으로 미세조정한 밀집 검색", "system.hybrid-rrf": "BM25와 밀집 검색의 순위 융합",
    "system.hybrid": "BM25와 밀집 검색의 점수 융합", "system.zmem+text": "z-메모리가 고른 원문",
    "system.zmem+bm25": "z-메모리와 BM25의 융합",
    "system.hybrid+rerank": "교차 인코더로 재순위화한 융합 검색",
    "system.lm-rerank": "언어 모델로 재순위화한 융합 검색",
    "system.long-context": "긴 문맥에 넣을 수 있는 만큼의 원문", "system.text-twin": "텍스트 대응 모델",
    "system.gold-passage": "정답 문단", "system.closed-book": "근거 없는 독해 모델",
}  # fmt: skip
