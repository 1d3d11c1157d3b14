"""Reader tokens: who holds one may read one session for a while, and do nothing else; for browsers.

A token is `plr_PAYLOAD.MAC`, both base64url; the payload is JSON, `[SESSION, EXPIRES, TENANT, KEY, BORN]`.
It is signed with a key derived from `PALAVER_SECRET`. The tenant is the session's, and `BORN` tells when that
began: when it was erased, and another has its name, the token reads nothing. It is null where there was no
session yet: then the token is for the tenant's, whenever it begins. `KEY` is the id of the API key that asked
for it, and null where nobody asked.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

import orjson

from palaver.shared.error_tree import ConfigurationError
from palaver.shared.ids import check_session_id, valid_session_id
from palaver.shared.owner import Owner
from palaver.shared.plain import refuse, shape
from palaver.shared.settings import Settings

PREFIX: Final = "plr_"
DEFAULT_SECONDS: Final = 3600.0
MOST_SECONDS: Final = 7 * 24 * 3600.0
_PURPOSE: Final = b"palaver reader token of a session that was born"


@dataclass(frozen=True, slots=True)
class ReaderToken:
    """What a token allows; `expires` is Unix time in seconds. `key_id`: which API key asked for it. `born`:
    as its session's `SessionOwner`; None: whichever has its id.
    """

    session_id: str
    expires: float
    tenant: str | None
    key_id: str | None
    born: str | None

    @property
    def id(self) -> str:
        """The same for all tokens that say the same; nobody can make one of it."""
        said = orjson.dumps([self.session_id, self.expires, self.tenant, self.key_id, self.born])
        return hashlib.sha256(said).hexdigest()[:32]


def make_reader_token(
    settings: Settings,
    session_id: str,
    *,
    tenant: str | None = None,
    key_id: str | None = None,
    born: str | None = None,
    seconds: float,
    now: float,
) -> str:
    """A token for this session, which is the tenant's and was `born` then. Raises ValidationError, and
    ConfigurationError without `PALAVER_SECRET`.
    """
    check_session_id(session_id)
    Owner.validated({"tenant": tenant})
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not (number and 0 < seconds <= MOST_SECONDS):
        refuse("seconds", f"must be above 0 and at most {MOST_SECONDS:g}, not {shape(seconds)}")
    payload = orjson.dumps([session_id, round(now + seconds, 3), tenant, key_id, born])
    return f"{PREFIX}{_text(payload)}.{_text(_mac(settings, payload))}"


def read_reader_token(settings: Settings, token: str, *, now: float) -> ReaderToken | None:
    """What the token allows now; None if it is none of ours, was changed, or is over."""
    if settings.secret is None or not token.startswith(PREFIX):
        return None
    words = token.removeprefix(PREFIX).split(".")
    try:
        payload, mac = map(_bytes, words)
    except ValueError:
        return None
    if not hmac.compare_digest(mac, _mac(settings, payload)):
        return None
    read = ReaderToken(*orjson.loads(payload))
    return read if valid_session_id(read.session_id) and now < read.expires else None


def _mac(settings: Settings, payload: bytes) -> bytes:
    if settings.secret is None:
        raise ConfigurationError(
            "Reader tokens need PALAVER_SECRET, the same at whoever makes and whoever takes them.",
            param="secret",
        )
    key = hmac.digest(settings.secret.get_secret_value().encode(), _PURPOSE, hashlib.sha256)
    return hmac.digest(key, payload, hashlib.sha256)


def _bytes(word: str) -> bytes:
    """What `_text` made this of, and nothing else: Python's decoder skips what is not Base64. Raises
    ValueError.
    """
    value = urlsafe_b64decode(word + "=" * (-len(word) % 4))
    if _text(value) != word:
        raise ValueError
    return value


def _text(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
