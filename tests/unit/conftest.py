"""How examples are looked for: no deadline for one of them, since the machine may be busy with other things."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("unit", deadline=None, max_examples=100, stateful_step_count=20)
hypothesis.settings.load_profile("unit")
