"""`explain.json`: an explanation as figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from usae_train.files.provenance import commit, versions
from usae_train.model.usae import USAE
from usae_viz.explanations.choice import listed_concepts
from usae_viz.explanations.intervention import as_json
from usae_viz.explanations.photograph_concepts import PhotographConcepts

EXPLAIN_SCHEMA = 1


def record_of(explanations: Sequence[PhotographConcepts], top: int) -> dict[str, Any]:
    """What explain.json holds of photographs that one USAE explains; `top` concepts per backbone and order.

    Of all that are listed the maps are kept.
    """
    return {
        "schema": EXPLAIN_SCHEMA,
        "usae": usae_record(explanations[0].usae),
        "photographs": [_photograph(each, top) for each in explanations],
        "versions": versions(),
        "commit": commit(),
    }


def usae_record(usae: USAE) -> dict[str, Any]:
    """Which USAE it is."""
    return {"source": usae.source, "sha256": usae.sha256, "n_concepts": usae.n_concepts, "k": usae.k}


def _photograph(explanation: PhotographConcepts, top: int) -> dict[str, Any]:
    names = explanation.usae.names
    width, height = explanation.photograph.whole.size
    left, above, side = explanation.photograph.square
    concepts = listed_concepts(explanation, top)
    return {
        "name": explanation.photograph.name,
        "width": width,
        "height": height,
        "seen": {"left": left, "top": above, "side": side},
        "agreed": explanation.agreed(),
        "only": {name: explanation.only(name) for name in names},
        "names": {str(k): explanation.names[k] for k in concepts if k in explanation.names},
        "backbones": {name: _backbone(explanation, name, concepts) for name in names},
    }


def _backbone(explanation: PhotographConcepts, name: str, concepts: Sequence[int]) -> dict[str, Any]:
    maps = explanation.maps[name]
    answer = explanation.answer(name)
    asked_class = explanation.asked_class(name) if answer is not None else None
    important = {} if answer is None else {each.concept: each for each in explanation.importance(name)}
    entries = []
    for concept in concepts:
        activity = maps.activity(concept, None)
        entry: dict[str, Any] = {"concept": concept, "peak": round(activity.peak, 4), "area": round(activity.area, 4)}
        if activity.area:
            entry["place"] = list(activity.place)
            entry["map"] = [[round(code, 3) for code in row] for row in maps.codes[concept].tolist()]
        if concept in important:
            importance = important[concept]
            entry["exact"] = None if importance.exact is None else round(importance.exact, 5)
            entry["estimate"] = round(importance.estimate, 5)
        entries.append(entry)
    return {
        "grid": list(maps.grid),
        "input_size": explanation.usae.backbones[name].input_size,
        "answer": None if answer is None else as_json(answer),
        "asked": None if asked_class is None else {"class": asked_class[0], "name": asked_class[1]},
        "no_importance": explanation.refused.get(name),
        "concepts": entries,
    }
