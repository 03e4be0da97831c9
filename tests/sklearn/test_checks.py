"""scikit-learn's own checks of its estimators: none is expected to fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install .[sklearn]")

from sklearn.utils.estimator_checks import parametrize_with_checks

from rollc.sklearn import SequenceClassifier, SequenceRegressor

pytestmark = [pytest.mark.long, pytest.mark.compiled, pytest.mark.filterwarnings("ignore")]


# One network serves data of up to four classes.
@pytest.mark.sampled(12)
@parametrize_with_checks([SequenceRegressor(), SequenceClassifier(K=4)])
def test_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
