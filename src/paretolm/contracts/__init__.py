"""What everything else speaks; the only folder a contributor must read.

slots: where a method acts. method: Method, Edit. parts, cache_parts: the protocol of each slot. step: the forward under
way. view: the model as a plan sees it. cost: predicted bytes. knobs: fields, ranges, budgets.
"""

from .cache_parts import (
    AttendCompute,
    AttendMask,
    AttendPart,
    AttendSelect,
    Band,
    Held,
    IndexPart,
    KeepPart,
    Kept,
    Observe,
    Observed,
    Side,
    Store,
    StorePart,
)
from .cost import Cost, Interval, LayerCost
from .knobs import Budget, ModelRef, knob
from .method import WHOLE, Artifact, Edit, Fitter, Method, OpenContext, Place
from .parts import (
    BlockPart,
    DecodePart,
    Forward,
    FrequencyPart,
    LayerInputs,
    LogitsPart,
    Loop,
    Prompt,
    PromptPart,
    Runner,
    SlotPart,
    TokensPart,
    WeightsPart,
)
from .slots import Moment, Need, Phase, Slot
from .step import Step, current_step, entering
from .view import LayerView, Linear, ModelView, Rope

__all__ = [
    "WHOLE",
    "Artifact",
    "AttendCompute",
    "AttendMask",
    "AttendPart",
    "AttendSelect",
    "Band",
    "BlockPart",
    "Budget",
    "Cost",
    "DecodePart",
    "Edit",
    "Fitter",
    "Forward",
    "FrequencyPart",
    "Held",
    "IndexPart",
    "Interval",
    "KeepPart",
    "Kept",
    "LayerCost",
    "LayerInputs",
    "LayerView",
    "Linear",
    "LogitsPart",
    "Loop",
    "Method",
    "ModelRef",
    "ModelView",
    "Moment",
    "Need",
    "Observe",
    "Observed",
    "OpenContext",
    "Phase",
    "Place",
    "Prompt",
    "PromptPart",
    "Rope",
    "Runner",
    "Side",
    "Slot",
    "SlotPart",
    "Step",
    "Store",
    "StorePart",
    "TokensPart",
    "WeightsPart",
    "current_step",
    "entering",
    "knob",
]
