"""Human studies: does a drawn picture lead a person to the top-activating patches of its concept?"""

from usae_viz.rating.scoring import Outcome, score_answers
from usae_viz.rating.study import make_study, write_study

__all__ = ["Outcome", "make_study", "score_answers", "write_study"]
