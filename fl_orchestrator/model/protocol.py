"""The protocol's constants, light to import; the contracts have those numbers too.

What belongs to one subject stands with it: CHUNK_VALUES and MAX_DEPTH in ``layout``,
STATE_FRACTION_BITS in ``manifest``, LEVELS_PER_ANSWER in ``dispute_proof``, codecs in
``content.cid``. tests/unit/model/test_protocol.py compares them all with the contracts.
"""

import re
from typing import Final

#: Updates that a round may have, and parties that it may draw.
MAX_UPDATES: Final = 100
#: Seats of aggregators.
MAX_AGGREGATORS: Final = 64
#: The largest weight of an update.
MAX_WEIGHT: Final = 255
#: Basis points of a whole.
BPS: Final = 10_000
#: The bytes of a commitment that the contract keeps.
COMMITMENT_BYTES: Final = 26
#: An account or a contract, checksummed or not.
ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
