"""Small programs that stand for other people's agents and reviewers, written to a folder when a test needs one."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

HEAD = "import json, os, re, sys, time\nasked = json.load(sys.stdin)\n"

# As Evolyth's workers are written: no more than its contract is read or answered. Another LR each time that it is asked.
LOWER_LR = """
text = asked["current_model"]
lr = float(re.search(r"^LR = (.*)$", text, re.M)[1])
text = re.sub(r"^LR = .*$", "LR = %r" % (lr * 0.9), text, flags=re.M)
answer = {"mutation_type": "safe_refinement", "mutation_summary": "lower LR", "hypothesis": "it overshoots",
          "changed_files": [asked["mutable_file"]], "model_py": text}
print(json.dumps(answer))
"""

REVIEW = """
child, parent = asked["child"], asked["parent"]
better = child["status"] == "succeeded" and parent is not None and child["score"] > parent["score"]
print(json.dumps({"valid": child["status"] == "succeeded", "is_improvement": better, "branch_recommendation": "continue",
                  "observation": "score %s" % child.get("score"), "next_belief": "go on",
                  "recommended_next_mutations": [{"mutation_type": "schedule", "description": "a cosine schedule",
                                                  "expected_benefit": "smoother", "priority": 0.7}]}))
"""


def worker(folder: Path, body: str, *, name: str = "worker.py", reads: bool = True) -> str:
    """A command line that runs `body`, which finds the question in `asked`."""
    path = folder / name
    path.write_text((HEAD if reads else "import json, os, re, sys, time\n") + body)
    return shlex.join([sys.executable, str(path)])
