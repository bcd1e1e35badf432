"""The fixed sentences of a report, in one place for whoever reviews them.

Careful words only: what the models said, against which thresholds, and what to do next. No severity, displacement or
treatment: nothing here measures them.
"""

from __future__ import annotations

from fractureai.domain.study import Assessment, WorkState

PRODUCT = "FractureAI"
TITLE = "AI-assisted radiology report"
NOT_FOR_DIAGNOSIS = "Not for diagnostic use"
SUBJECT = f"{NOT_FOR_DIAGNOSIS}. Assessment of limb radiographs by machine, for review by a qualified reader."
NOT_GIVEN = "not given"

HEADLINES = {
    Assessment.FRACTURE: "Signs of a fracture",
    Assessment.SUSPECTED: "Fracture suspected",
    Assessment.INCONCLUSIVE: "Inconclusive",
    Assessment.NO_FRACTURE: "No signs of a fracture found",
}
STATE_HEADLINES = {
    WorkState.REJECTED: "Not assessed: the files could not be read",
    WorkState.FAILED: "Not finished: the analysis failed",
}
NOT_ASSESSED = "Not assessed"
NOT_READ = "Not read"
SET_ASIDE = "Set aside"

MEANINGS = {
    Assessment.FRACTURE: "At least one view reaches the upper threshold of the model for its region.",
    Assessment.SUSPECTED: (
        "At least one view lies between the two thresholds of the model for its region: "
        "too high to be called normal, too low to be called a finding."
    ),
    Assessment.INCONCLUSIVE: (
        "The study could not be assessed as a whole. This says nothing about whether there is a fracture."
    ),
    Assessment.NO_FRACTURE: (
        "Every view lies below the lower threshold of the model for its region. This does not rule a fracture out."
    ),
}
RECOMMENDATIONS = {
    Assessment.FRACTURE: (
        "A qualified reader should review these images with priority, together with the patient's history and "
        "examination, and decide what follows."
    ),
    Assessment.SUSPECTED: (
        "A qualified reader should review these images with priority. Treat the study as unread until then: "
        "a value between the thresholds is not a normal result."
    ),
    Assessment.INCONCLUSIVE: (
        "A qualified reader should read this study without the help of this system. The reasons below say what kept it "
        "from an assessment; where a file is at fault, a corrected export can be sent."
    ),
    Assessment.NO_FRACTURE: (
        "A qualified reader should review these images in the usual course. Where the patient's history or examination "
        "points to a fracture, it counts for more than this result."
    ),
}

NO_RESULTS_FILED = f"No AI results are filed into this study; they are in the report of {PRODUCT}."
MISSING_CHARACTERS = (
    "Some characters of the names are missing in the fonts of this report and are drawn as boxes. They are right in "
    "text that is copied out of it. Identify the patient by the ID."
)
BURNED_IN = "The header says that text is burned into the image."

METHOD = (
    "A classifier tells the region of each view and whether it is a limb radiograph at all. The model of that region "
    "then gives a calibrated fracture probability, which is compared with the two thresholds of its card: from the "
    "upper one on, the view counts as a finding; between them, as suspected; below the lower one, as normal. The study "
    "follows its most suspicious view. The card, named by its hash, holds the rate each threshold was set for. "
    "Places come from the same network, each with a probability of its own."
)
LIMITATIONS = (
    "The models look for signs of a fracture in single views of the regions they were trained for. They do not look "
    "for dislocation, effusion, tumour, infection, foreign bodies or any other finding, and do not compare with "
    "earlier images.",
    "They give no severity, displacement or age of a fracture, and no advice on treatment.",
    "A probability is calibrated on the data named in the model card. In other patients, on other equipment or after "
    "other processing it can be wrong, in both directions.",
    "A box shows where the model places a possible fracture, the attention map where its score comes from. Neither is "
    "an outline of a fracture, and a fracture may lie outside of both.",
)
