"""The guards: each a small change of one file that removes one, and the tests that must turn red then."""

from dataclasses import dataclass

__all__ = ["GUARDS", "Guard"]

AUTH, CATALOG, SYNC = "services/auth/src/auth/", "services/catalog/src/catalog/", "services/sync/src/sync/"
EDGE = "deploy/gateway/src/gateway/"
COMMON, CONTRACT = "libs/common/src/common/", "libs/imports/src/imports/"


@dataclass(frozen=True)
class Guard:
    """In `file` the text `old`, which is there once, becomes `new`; `tests` are the nearest ones."""

    name: str
    file: str
    old: str
    new: str
    tests: str


def _guards(folder: str, tests: str, *rows: tuple[str, str, str, str] | tuple[str, str, str, str, str]) -> list[Guard]:
    return [Guard(row[0], folder + row[1], row[2], row[3], row[4] if len(row) == 5 else tests) for row in rows]


REFRESH, LOGIN = "tests/integration/auth/test_refresh.py", "tests/integration/auth/test_login.py"
REGISTER, PROCESS = "tests/integration/auth/test_register.py", "tests/integration/auth/test_process.py"
FORGERY, KEYS = "tests/integration/auth/test_forgery.py", "tests/integration/auth/test_keys.py"
PRODUCTS, CHANGES = "tests/integration/catalog/test_products.py", "tests/integration/catalog/test_changes.py"
CONDITIONS, PAGING = "tests/integration/catalog/test_conditions.py", "tests/integration/catalog/test_paging.py"
NUMBERS, INTERNAL = "tests/integration/catalog/test_numbers.py", "tests/integration/catalog/test_internal.py"
PLANNED, MISSING = (
    "tests/integration/catalog/test_imports_planned.py",
    "tests/integration/catalog/test_imports_missing.py",
)
PIECES, KEPT = "tests/integration/catalog/test_imports_pieces.py", "tests/integration/catalog/test_imports_kept.py"
IMPORTS, REQUESTS = "tests/integration/catalog/test_imports.py", "tests/integration/common/test_requests.py"
BACKENDS, OUTAGES = "tests/integration/common/test_backends.py", "tests/integration/common/test_outages.py"
FROZEN, LOGS = "tests/integration/common/test_frozen.py", "tests/unit/common/test_logs.py"
LATE, GROUPED = "tests/integration/common/test_late.py", "tests/unit/common/test_grouped_reads.py"
FRESH, PLAIN = "tests/integration/catalog/test_fresh_reads.py", "tests/integration/catalog/test_plain_reads.py"
STARTUP, TOKENS = "tests/integration/common/test_startup.py", "tests/unit/common/test_tokens.py"
FORWARDED, GATEWAY = "tests/unit/common/test_forwarded.py", "tests/e2e/test_gateway.py"
TRAFFIC = "tests/e2e/test_gateway_traffic.py"
RUNS, SCHEDULER = "tests/integration/sync/test_runs.py", "tests/integration/sync/test_scheduler.py"
REST, FILE = "tests/unit/sync/test_rest.py", "tests/unit/sync/test_file.py"
GUARD, OPTIONS = "tests/unit/sync/test_provider_guard.py", "tests/unit/sync/test_provider_options.py"
CONDITIONAL = "tests/unit/sync/test_provider_conditions.py"
MAPPING = "tests/unit/sync/test_provider_mapping.py"

GUARDS = [
    *_guards(
        AUTH, REFRESH,
        ("refresh signs the role that the user has", "login.py", "subject=str(user.id), role=user.role,", "subject=str(user.id), role=Role.ADMIN,"),
        ("logout ends one session", "sessions.py", "update(Session).where(Session.id == of_token, Session", "update(Session).where(Session"),
        ("a reused refresh token ends the session", "login.py", 'await sessions.revoke(db, session.id)\n            return None', "return None"),
        ("a used refresh token is not good for ever", "login.py", 'if unused and now - token.used_at <= RETRY_WINDOW else', "if unused else"),
        ("a token whose successor is used is not good", "login.py", 'if unused and now - token.used_at <= RETRY_WINDOW else', "if now - token.used_at <= RETRY_WINDOW else"),
        ("a repeated token has one successor", "login.py", 'hmac.digest(self._successor_key, token.encode(), "sha256")', "secrets.token_bytes(32)"),
        ("an expired session is over", "login.py", " or found[1].expires_at <= now:", ":"),
        ("a revoked session is over", "login.py", "found is None or found[1].revoked_at or", "found is None or"),
        ("a session ends 90 days after the login", "login.py", "min(now + self._lifetime, latest)", "now + self._lifetime"),
        ("a user has 20 sessions", "login.py", "keep=MAX_SESSIONS)", "keep=MAX_SESSIONS * 100)"),
        ("a session is refreshed 10 times a minute", "login.py", ">= REFRESHES_PER_MINUTE:", ">= 100 * REFRESHES_PER_MINUTE:"),
        ("refresh tokens are stored as hashes", "login.py", "return hashlib.sha256(token.encode()).digest()", "return token.encode()"),
        ("ended sessions are deleted", "sessions.py", "Session.expires_at < func.now() - day", "Session.expires_at < func.now() - 100 * day"),
    ),
    *_guards(
        AUTH, REGISTER,
        ("the first admin is decided by one at a time", "registration.py", "            await users.lock_admins(db)\n            await self._authorize_admin", "            await self._authorize_admin"),
        ("an admin is made by an admin", "registration.py", "            await self._authorize_admin(db, caller)\n", ""),
        ("an inviter is an admin still", "registration.py", ' or not await users.is_admin(db, user_id(caller)):', ":"),
        ("registrations are limited by address", "throttle.py", "self._registrations = _per_minute(registrations_per_minute)", "self._registrations = _per_minute(10**6)"),
        ("emails are compared in lower case", "emails.py", "self.typed.lower().rpartition", "self.typed.rpartition"),
        ("hosts are compared in ASCII", "emails.py", 'return f"{local}{at}{_ascii(host)}"', 'return f"{local}{at}{host}"'),
        ("accounts of the last release are found", "users.py", "(User.email == email.key) | old)", "User.email == email.key)"),
    ),
    *_guards(
        AUTH, LOGIN,
        ("an unknown user costs a hash", "passwords.py", "        matches = await self._run(", "        if hashed is None:\n            return False\n        matches = await self._run("),
        ("5 wrong passwords make the account wait", "throttle.py", "ACCOUNT_FAILURES = RateLimit(limit=5,", "ACCOUNT_FAILURES = RateLimit(limit=500,"),
        ("20 wrong passwords make the address wait", "throttle.py", "ADDRESS_FAILURES = RateLimit(limit=20,", "ADDRESS_FAILURES = RateLimit(limit=2000,"),
        ("who did not fail is let in", "rate_limiter.py", "if KEYS[2] and seconds_until(KEYS[1], 'forget') > 0 then", "if KEYS[2] then"),
        ("attempts are counted by address", "throttle.py", "self._attempts = _per_minute(logins_per_minute)", "self._attempts = _per_minute(10**6)"),
        ("the token of a deleted user is refused", "permissions.py", "    if user is None:\n", "    if user is None and token.role == 'nobody':\n"),
        ("an IPv6 client is its network", "throttle.py", "    if ip.version == 6:\n", "    if ip.version == 7:\n"),
        ("accounts take turns at hashing", "fair_queue.py", "address, accounts = self._waiting.popitem(last=False)", "address, accounts = self._waiting.popitem(last=True)", "tests/unit/auth/test_passwords.py"),
        ("nobody fills the queue for others", "fair_queue.py", "            self._displace(account, address)\n", "            raise _full()\n", "tests/unit/auth/test_passwords.py"),
        ("there are 4 threads for hashing at most", "passwords.py", "MAX_THREADS = 4", "MAX_THREADS = 400", "tests/unit/auth/test_passwords.py"),
        ("threads go by the container's quota", "passwords.py", 'return available if quota == "max" else', "return available if quota else", "tests/unit/auth/test_passwords.py"),
        ("lengths are checked before texts are normalised", "schemas.py", "        if len(value) > 4 * max_length:\n", "        if len(value) > 10**9:\n", "tests/unit/auth/test_schemas.py"),
        ("passwords have 8 characters", "schemas.py", "NewPassword = Annotated[AnyPassword, Field(min_length=8)]", "NewPassword = Annotated[AnyPassword, Field(min_length=1)]", "tests/unit/auth/test_schemas.py"),
        ("the last admin is deleted by force only", "registration.py", "if not force and await users.is_last_admin(db, user):", "if False:", PROCESS),
        ("the secret of a service is compared", "login.py", "if client_id != Client.SYNC or not matches:", "if client_id != Client.SYNC:", "tests/integration/auth/test_token.py"),
        ("production has no open registration of admins", "settings.py", 'if info.data.get("app_env") == "production" and value != "never":', "if False:", "tests/unit/auth/test_settings.py"),
        ("the key ring keeps its keys without PostgreSQL", "keyring.py", "            if not self._keys.published:\n                raise\n", "            raise\n", KEYS),
    ),
    *_guards(
        COMMON, FORGERY,
        ("a key is found by its id", "web/jwks.py", "        return self._keys.get(kid)\n", "        return self._keys.get(kid) or next(iter(self._keys.values()))\n", "tests/integration/common/test_jwks.py"),
        ("verifiers keep their keys without auth", "web/jwks.py", '                log.warning("cannot fetch the signing keys: %s", type(error).__name__)\n', '                self._keys = {}\n', "tests/integration/common/test_jwks.py"),
        ("the type of a token is that of an access token", "web/tokens.py", ' or header.get("typ") != TYPE:', ":"),
        ("the issuer is ours", "web/tokens.py", 'claims.get("iss") != ISSUER or ', ""),
        ("the audience is ours", "web/tokens.py", ' or claims.get("aud") != AUDIENCE:', ":"),
        ("a token expires", "web/tokens.py", "if now > expires + LEEWAY_SECONDS:", "if False:"),
        ("a token is not good before its time", "web/tokens.py", "if max(issued, not_before) > now + LEEWAY_SECONDS:", "if False:"),
        ("the signature is verified", "web/tokens.py", "json.loads(jws.verify(token, key, [ALGORITHM]))", "json.loads(jws.get_unverified_claims(token))"),
        ("a remembered token ends with its key", "web/tokens.py", "if known is None or key is not known.key:", "if known is None:", TOKENS),
        ("a remembered token expires", "web/tokens.py", "            _check_times(known.token.expires_at, known.token.issued_at, known.not_before)\n", "            pass\n", TOKENS),
        ("remembered tokens are bounded", "web/tokens.py", "        while len(self._verified) >= MAX_REMEMBERED:\n", "        while False:\n", TOKENS),
        ("a token of any length is not read", "web/tokens.py", "if len(token) > MAX_TOKEN_BYTES:", "if False:", "tests/integration/common/test_jwks.py"),
        ("roles are checked", "web/security.py", "        if not self._allowed(token):\n", "        if False:\n", PRODUCTS),
        ("an answer says whether it may be stored", "web/middleware.py", '                    headers.append((b"cache-control", b"no-store"))\n', "                    pass\n", "tests/integration/common/test_validation.py"),
        ("a member of an answer is documented", "web/problems.py", '        "status": status,\n', '        "status": status,\n        "code": status,\n', "tests/integration/common/test_validation.py"),
        ("credentials come before the body", "web/routing.py", "            for permission in permissions:\n                await permission(cast(StateRequest, request))\n", "", REQUESTS),
        ("a body has a size, told before", "web/body.py", "        if self._too_large:\n", "        if False:\n", REQUESTS),
        ("a body has a size, streamed", "web/body.py", "        if self._received > self._limit:\n", "        if False:\n", REQUESTS),
        ("a body comes in time", "web/body.py", "async with asyncio.timeout_at(self._expires):", "async with asyncio.timeout_at(self._expires + 10**6):", REQUESTS),
        ("bodies are bounded together", "web/body.py", "        if _Held.total > MAX_HELD:\n", "        if False:\n", REQUESTS),
        ("requests are bounded in number", "web/middleware.py", "if self._running >= self._most and", "if False and", REQUESTS),
        ("URLs are bounded", "web/middleware.py", "> self.MAX_URL:", "> 100 * self.MAX_URL:", REQUESTS),
        ("errors told are bounded", "web/errors.py", "errors=errors[: self.MAX_ERRORS]", "errors=errors", REQUESTS),
        ("a 500 does not tell its cause", "web/problems.py", 'return problem(scope, 500, "Internal server error. Quote this request_id.")', "return problem(scope, 500, str(error))", REQUESTS),
        ("an address is believed from trusted proxies", "web/forwarded.py", "if self._hops and scope", "if scope", FORWARDED),
        ("of forwarded addresses that of the outermost trusted proxy counts", "web/forwarded.py", "_address(chain[-self._hops :][0])", "_address(chain[0])", FORWARDED),
        ("secrets in log lines are masked", "logs.py", "        text = pattern.sub(replacement, text)\n", "        pass\n", LOGS),
        ("secrets in fields of log lines are masked", "logs.py", "fields[key] = mask(value) if isinstance(value, str) else value", "fields[key] = value", LOGS),
        ("secrets in exceptions are masked", "logs.py", 'fields["exception"] = mask(self.formatException(record.exc_info))', 'fields["exception"] = self.formatException(record.exc_info)', LOGS),
        ("control characters are escaped on a terminal", "logs.py", "{text.translate(_CONTROLS)}", "{text}", LOGS),
        ("NaN is no JSON", "web/strict_json.py", '    raise InvalidJSON(f"{name} is not a JSON number.")\n', "    return 0  # type: ignore\n", "tests/unit/common/test_json.py"),
        ("a key stands once in an object", "web/strict_json.py", "    if len(value) != len(pairs):\n", "    if False:\n", "tests/unit/common/test_json.py"),
        ("JSON is not nested for ever", "web/strict_json.py", "        if depth > MAX_DEPTH:\n", "        if False:\n", "tests/unit/common/test_json.py"),
        ("a frozen server is given up", "connection.py", "                if not ready:\n", "                if False:\n", OUTAGES),
        ("overdue statements are cancelled", "connection.py", "cancel_conn = self.pgconn.cancel_conn() if cancel else None", "cancel_conn = None", BACKENDS),
        ("backends are bounded", "connection.py", "                await self._slots.acquire()\n", "                pass\n", BACKENDS),
        ("a slow statement is not a server that is gone", "connection.py", "            self._ping()\n", "            pass\n", BACKENDS),
        ("SQLAlchemy writes numbers exactly", "web/orm.py", "        set_json_dumps(dumps, connection)\n", "", NUMBERS),
        ("SQLAlchemy reads numbers exactly", "web/orm.py", "        set_json_loads(loads, connection)\n", "", NUMBERS),
        ("JSON is written exactly", "web/compiled.py", "return Jsonb(value, dumps)", "return Jsonb(value, lambda it: dumps(__import__('json').loads(dumps(it))))", NUMBERS),
        ("what failed is not committed", "web/database.py", "                await give_back(self._transactions, transaction.connection)\n", "                await transaction.connection.commit()\n                await give_back(self._transactions, transaction.connection)\n", "tests/integration/common/test_transactions.py"),
        ("a transaction on a connection that died unused begins anew", "postgres.py", "lost = connection is not None and connection.closed and", "lost = False and", OUTAGES),
        ("an error gives the connection back", "postgres.py", "                    await give_back(pool, connection)\n", "                    pass\n", "tests/integration/common/test_transactions.py"),
        ("probes share one report", "health.py", "        async with self._lock:\n", "        if True:\n", "tests/unit/common/test_health.py"),
        ("waits for locks end", "postgres.py", '"lock_timeout": "3s"', '"lock_timeout": "300s"', BACKENDS),
        ("reads end in PostgreSQL", "postgres.py", '{"statement_timeout": "5s", ', '{"statement_timeout": "500s", ', BACKENDS),
        ("a frozen Redis is given up", "redis_client.py", "        async with loop_clock.timeout(SECONDS):\n", "        async with loop_clock.timeout(300):\n", FROZEN),
        ("a pipeline to a frozen Redis is given up", "redis_client.py", "        async with _time_limit():\n            return await super().execute(raise", "        if True:\n            return await super().execute(raise", FROZEN),
        ("a late process does not blame the server", "loop_clock.py", "return min(time, self._tick_due) - self._late", "return time", LATE),
        ("waits for a connection of the engine go by the clock of the loop", "web/orm.py", "                    if not server.time_left(loop_clock.now() - began):\n", "                    if True:\n", LATE),
        ("optional parts of packages stay out", "startup.py", "        sys.modules.setdefault(name, None)", "        sys.modules.get(name)", STARTUP),
        ("the first request imports nothing", "startup.py", '    import_module("anyio._backends._asyncio")\n', "", STARTUP),
        ("documented answers are made for the document", "web/routing.py", "        del self.response_fields\n", "        self.response_fields = type(self).response_fields.func(self)\n", "tests/unit/common/test_startup.py"),
        ("a frozen auth is given up", "web/jwks.py", "loop_clock.timeout(self.FETCH_SECONDS)", "loop_clock.timeout(300)", FROZEN),
    ),
    *_guards(
        CATALOG, IMPORTS,
        ("a merge updates its own source", "differences.py", '_SAME_PRODUCT = "p.source = s.source AND ', '_SAME_PRODUCT = "'),
        ("a piece has its own source's rows", "differences.py", "FROM catalog.import_rows AS r WHERE r.source || '' = %(source)s AND", "FROM catalog.import_rows AS r WHERE %(source)s <> '' AND"),
        ("pinned fields are kept", "differences.py", "FILTER (WHERE v.name <> ALL (f.pinned)) AS new,", "AS new,"),
        ("deleted products stay deleted", "differences.py", '_RESTORABLE = "p.removed_at = p.deleted_at"', '_RESTORABLE = "true"'),
        ("equal rows are not written", "differences.py", "        WHEN ({_OLD}) IS NOT DISTINCT FROM ({_NEW}) AND p.missing_since IS NULL THEN 'unchanged'\n", ""),
        ("the newest record of a pass counts", "differences.py", "SELECT max(n.id) FROM", "SELECT min(n.id) FROM"),
        ("an incomplete pass is not merged", "importer.py", "    if not state.complete:\n", "    if False:\n"),
        ("a worker that lost its lease is refused", "importer.py", " or state.fencing_token != fencing_token:", ":"),
        ("an older fence does not begin a run", "importer.py", "    if fencing_token < state.fencing_token:\n", "    if False:\n"),
    ),
    *_guards(
        CATALOG, PLANNED,
        ("a plan is applied where the product is as it was", "writes.py", "p.version = c.version AND ", ""),
        ("a plan creates no product twice", "writes.py", "    WHERE c.kind = 'created' AND NOT EXISTS (\n        SELECT FROM catalog.products AS p WHERE p.source = c.source AND p.external_id = c.external_id\n    )\n", "    WHERE c.kind = 'created'\n"),
        ("a conflict is told before it is met", "run_reads.py", " AND p.version IS DISTINCT FROM c.version", " AND false"),
        ("what a reverted run created stays deleted", "writes.py", "WHEN 'created' THEN 'deleted'", "WHEN 'created' THEN 'removed'"),
        ("a run of another source is not reverted", "steps.py", " or of.source != source", ""),
        ("a plan changes nothing", "steps.py", "plan=planning", "plan=False"),
        ("a rejected record is not missing", "differences.py", " AND r.external_id = p.external_id\n", " AND false\n", MISSING),
        ("what is marked is not marked again", "differences.py", " AND (%(kind)s = 'removed' OR p.missing_since IS NULL)", "", MISSING),
        ("sync knows its own tombstones", "writes.py", "removed_at = CASE WHEN c.kind = 'removed' THEN now() WHEN", "removed_at = CASE WHEN", MISSING),
        ("a mark is none of the client's", "writes.py", "CASE WHEN c.kind IN ('marked', 'seen') THEN 0 ELSE 1 END", "1", MISSING),
        ("new products have the order of the source", "differences.py", "        FROM (SELECT * FROM s WHERE state = 'created' ORDER BY id) AS n\n", "        FROM (SELECT * FROM s WHERE state = 'created' ORDER BY md5(external_id)) AS n\n", PIECES),
        ("staging writes nothing ahead", "migrations/versions/0004_changes_of_runs.py", '    op.execute("ALTER TABLE catalog.import_rows SET UNLOGGED")\n', "", PIECES),
        ("lost rows are noticed by a page", "importer.py", "    await check_staged(transaction, source, state)\n    await staging", "    await staging", KEPT),
        ("lost rows are noticed before they are applied", "importer.py", "    if not await _has_all(transaction, source, state):\n", "    if False:\n", KEPT),
        ("a run begins anew without its rows", "importer.py", "    return bool(staged == state.staged)\n", "    return True\n", KEPT),
        ("a plan needs nothing that is staged", "importer.py", "    if phase and phase[0][1] in WITHOUT_STAGED:\n", "    if False:\n", KEPT),
        ("the current run is not pruned", "run_reads.py", "AND NOT EXISTS (SELECT FROM catalog.imports AS i WHERE i.run_id = r.run_id)\n        ORDER", "\n        ORDER", KEPT),
    ),
    *_guards(
        CATALOG, CHANGES,
        ("an edit pins what it changes", "products.py", "sorted({*product.pinned, *values}) if product.source is not None else product.pinned", "product.pinned"),
        ("what is equal is not changed", "changes.py", "_validated(differing).items() if not _same(stored[name], value)}", "_validated(differing).items()}"),
        ("an edit names a field", "changes.py", "    if not sent:\n", "    if False:\n"),
        ("true is not 1", "changes.py", "isinstance(stored, bool) == isinstance(sent, bool) and stored == sent", "stored == sent"),
        ("numbers of attributes are answered exactly", "rows.py", "return msgspec.Raw(bytes(data))", "return msgspec.Raw(msgspec.json.encode(msgspec.json.decode(bytes(data))))", NUMBERS),
        ("only deleted products without a source are purged", "statements.json", "make_interval(days => 30) AND catalog.products.source IS NULL", "make_interval(days => 30)"),
        ("only old deleted products are purged", "statements.json", "make_interval(days => 30)", "make_interval(days => 0)"),
        ("If-Match compares strongly", "conditions.py", "self.any or (False, tag) in self.tags", "self.match_weakly(tag)", CONDITIONS),
        ("If-None-Match holds for writes", "conditions.py", "        if self.not_modified(tag):\n", "        if False:\n", CONDITIONS),
        ("pages are bounded in bytes", "products.py", "MAX_PAGE_BYTES = 4 * 1024 * 1024", "MAX_PAGE_BYTES = 4000 * 1024 * 1024", PAGING),
        ("a change that leaves the total alone is not counted", "migrations/versions/0003_cheaper_counts.py", "FOR EACH ROW WHEN ((OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL))", "FOR EACH ROW", PRODUCTS),
        ("deep pages are read one at a time", "products.py", "                await db.slow_reads.acquire()\n", "                pass\n", PAGING),
        ("imports have a deadline of their own", "app.py", "seconds=60.0)", "seconds=0.1)", INTERNAL),
        ("skip has an end", "routes.py", "    if skip > MAX_SKIP:\n", "    if skip > 10**18:\n", PRODUCTS),
    ),
    *_guards(
        CONTRACT, CHANGES,
        ("numbers of attributes have a size", "rules.py", "    if len(digits) > MAX_DIGITS or", "    if False and"),
        ("attributes have a size", "rules.py", "> MAX_ATTRIBUTES_BYTES:", "> 100 * MAX_ATTRIBUTES_BYTES:"),
        ("names show something", "rules.py", "    if is_blank(value):\n", "    if False:\n"),
        ("currencies are of ISO 4217", "rules.py", "    if value not in CURRENCIES:\n", "    if False:\n"),
        ("imports keep the rules of the API", "product.py", "                rule(value)\n", "                pass\n"),
        ("image URLs have no quotes", "rules.py", "    if not fit or _UNFIT_FOR_URL(value) or", "    if not fit or"),
    ),
    *_guards(
        SYNC, RUNS,
        ("a run is taken from silent workers only", "runs.py", "(state = 'queued' OR (state = 'running' AND lease_until < now()))", "state IN ('queued', 'running')"),
        ("a worker takes runs of its own source alone", "runs.py", "            WHERE id = %s AND (name, provider, url) = (%s, %s, %s)\n", "            WHERE id = %s AND (%s::text, %s::text, %s::text) IS NOT NULL\n"),
        ("a run of another address is not swept", "stalled.py", "        WHERE {_STALLED} AND (name, provider, url) = (%s, %s, %s)\n", "        WHERE {_STALLED} AND (%s::text, %s::text, %s::text) IS NOT NULL\n"),
        ("an active run keeps its address", "runs.py", "SELECT FROM sync.runs WHERE runs.source = excluded.name AND state IN", "SELECT FROM sync.runs WHERE runs.source IS NULL AND state IN"),
        ("a fence is raised by who has the lease", "runs.py", "FROM sync.runs WHERE id = %s AND fence = %s AND state = 'running' FOR UPDATE\n", "FROM sync.runs WHERE id = %s AND coalesce(%s, 0) IS NOT NULL AND state = 'running' FOR UPDATE\n", "tests/integration/sync/test_runner.py"),
        ("a run goes on above catalog's fence", "runs.py", "SET fence = greatest(sources.fence, %s)", "SET fence = greatest(sources.fence, 0 * %s)", "tests/integration/sync/test_runner.py"),
        ("services use no proxy", "jobs.py", "httpx.AsyncClient(trust_env=False)", "httpx.AsyncClient()", "tests/integration/sync/test_worker.py"),
        ("a lost run is not renewed", "runs.py", "            pages = %s, fetched = %s, rejected = %s\n        WHERE id = %s AND fence = %s AND state", "            pages = %s, fetched = %s, rejected = %s\n        WHERE id = %s AND coalesce(%s, 0) IS NOT NULL AND state"),
        ("a first sync that failed is tried again", "runs.py", "CASE WHEN NOT done AND NOT active THEN retry_at END", "NULL::timestamptz", SCHEDULER),
        ("its pauses grow", "runs.py", "%s * 2 ^ least(count(*) - 1, 20)", "%s + 0 * count(*)", SCHEDULER),
        ("a frozen PostgreSQL is given up by workers", "database.py", "max_wait=timings.STATEMENT", "max_wait=500", FROZEN),
        ("a job that blocks its event loop is ended", "jobs.py", "        faulthandler.dump_traceback_later(timings.BLOCKED, exit=True)\n", "", "tests/unit/sync/test_watchdog.py"),
        ("the time limit of a job is ours", "queue.py", "        self.timeout = timings.JOB_LIMIT\n", "", "tests/integration/sync/test_ticks.py"),
        ("a claimed tick does its run", "jobs.py", "    return await _run(claimed.id, settings, db)\n", "    return None\n", "tests/integration/sync/test_ticks.py"),
        ("a frozen Redis is given up by workers", "queue.py", "        socket_timeout=seconds,\n", "        socket_timeout=300,\n", FROZEN),
    ),
    *_guards(
        SYNC + "providers/", REST,
        ("sources are at public addresses", "guard.py", "    if not all(map(is_public, addresses)):\n", "    if False:\n", GUARD),
        ("a private address in an IPv6 address is private", "guard.py", "        if embedded is not None:\n", "        if False:\n", GUARD),
        ("the setting for private addresses is obeyed", "connection.py", "config.transport or config.allow_private else", "True else", GUARD),
        ("a name means what it meant when it was checked", "guard.py", "connect_tcp(address, port, timeout", "connect_tcp(host, port, timeout", GUARD),
        ("the next page is on the same server", "addresses.py", "    if origin(target) != origin(base):\n", "    if False:\n"),
        ("redirects are not followed", "connection.py", "            follow_redirects=False,\n", "            follow_redirects=True,\n"),
        ("a page that came before is a loop", "pages.py", "            if found and hash(after.mark) in seen:\n", "            if False:\n"),
        ("a cursor that leads back is a loop", "pages.py", "following.token and hash(following.token) in seen:\n", "False:\n"),
        ("pages have a cap", "pages.py", "(count or following) and after.pages > config.max_pages", "False"),
        ("records have a cap", "pages.py", "        if after.records > config.max_records:\n", "        if False:\n"),
        ("bytes have a cap", "pages.py", "        if after.size > config.max_bytes:\n", "        if False:\n"),
        ("a source says when it has not ended", "paging.py", "        if not count and after.total is not None and after.pages < after.total:\n", "        if False:\n"),
        ("no cursor holds a key", "paging.py", "        if base.query:\n", "        if False:\n"),
        ("a token is renewed once", "http.py", "        return await self._ask_once(url, await self._signed(headers))\n", "        return await self._renewed(url, headers)\n"),
        ("a long Retry-After is left to a later run", "retries.py", " or (error.retry_after or 0.0) > LONGEST_PAUSE", "", "tests/unit/sync/test_provider_http.py"),
        ("a rate is kept", "connection.py", "        if rate is None:\n", "        if True:\n"),
        ("secrets of the worker are not those of sources", "secrets.py", "    if not _NAME.fullmatch(name):\n", "    if False:\n", OPTIONS),
        ("a credential is a reference", "credentials.py", "        if not isinstance(value, Reference) and (", "        if False and (", OPTIONS),
        ("no credential is a constant header", "credentials.py", "        if _is_secret(name):\n", "        if False:\n", OPTIONS),
        ("a credential is one line", "secrets.py", " or not _PRINTABLE.fullmatch(value)", "", OPTIONS),
        ("no file leads out of its folder", "folders.py", "        if not path.is_relative_to(root):\n", "        if False:\n", OPTIONS),
        ("a name is no path", "folders.py", "    if not _NAME.fullmatch(name):\n", "    if False:\n", OPTIONS),
        ("a provider without options has none", "__init__.py", "    if config.options and _options(factory) is None:\n", "    if False:\n", OPTIONS),
        ("an expression does not multiply", "expressions.py", "copies > MAX_COPIES or calls > MAX_CALLS", "False", OPTIONS),
        ("a price has its currency", "mapping.py", '        if "currency" in self._fields:\n', '        if "currency" in self._fields and self._read("currency", record):\n', MAPPING),
        ("a bad optional field hurts no record", "records.py", "            self.dropped.append(field)\n            return None\n", "            raise\n", MAPPING),
        ("a file that has changed is not continued", "file.py", "            if at.records and at.mark != here.mark:\n", "            if False:\n", FILE),
        ("half a record is no end", "lines.py", "            if isinstance(found, Broken):\n                raise", "            if False:\n                raise", FILE),
        ("an open quote is no end", "lines.py", "        if self._quoted:\n            raise", "        if False:\n            raise", FILE),
        ("a record of a file has a size", "lines.py", "        if self._size > MAX_RECORD:\n", "        if False:\n", FILE),
        ("a line of a file has a size", "lines.py", "            self._skipping = True\n", "            pass\n", FILE),
        ("a file has a size", "contents.py", "                    if size > config.max_bytes:\n", "                    if False:\n", FILE),
        ("other options have no validators", "conditions.py", 'config.validators.get("subject") == self._subject', "True", CONDITIONAL),
        ("an unasked 304 is an error", "pages.py", "error.status == 304 and headers:", "error.status == 304:", CONDITIONAL),
        ("what was continued has no validators", "pages.py", "condition = self._condition if first else None", "condition = self._condition", CONDITIONAL),
        ("changes are not everything", "rest.py", "        self.partial = bool(since)\n", "        self.partial = False\n"),
        ("silence in a file has an end", "contents.py", "asyncio.timeout(self._config.timeout)", "asyncio.timeout(300)", FILE),
    ),
    *_guards(
        COMMON, GROUPED,
        ("no read joins a group that was sent", "grouped_reads.py", "            for key, waiting in group.items():\n", "            for key, waiting in [*group.items(), *((key, self._next.pop(key)) for key in group if key in self._next)]:\n", FRESH),
        ("groups have a bound", "grouped_reads.py", "            if len(group) == self._group_size:\n", "            if False:\n"),
        ("reads that wait have a bound", "grouped_reads.py", "        if len(self._unanswered) >= self._most_waiting:\n", "        if False:\n"),
        ("groups under way have a bound", "grouped_reads.py", "            self._free_lanes -= 1\n", "            pass\n"),
        ("a read has a deadline of its own", "grouped_reads.py", '                read.fail(ReadOverdue("PostgreSQL does not answer"))\n', "                pass\n"),
        ("each reader has an error of its own", "grouped_reads.py", "read.fail(copy.copy(error))", "read.fail(error)"),
        ("nobody reads for clients that have gone", "grouped_reads.py", "[read for read in self._next.pop(key) if not read.value.done()]", "self._next.pop(key)"),
        ("a lane is free after an error", "grouped_reads.py", "        self._groups.discard(task)\n        self._free_lanes += 1\n", "        self._groups.discard(task)\n        self._free_lanes += task.exception() is None\n        return\n"),
    ),
    *_guards(
        CATALOG, PLAIN,
        ("a repeated parameter is not plain", "plain_reads.py", "        if name in parameters or not _PARAMETER(parameter):\n", "        if not _PARAMETER(parameter):\n"),
        ("limits are those of the ordinary route", "plain_reads.py", "    if skip > MAX_SKIP or not 1 <= limit <= MAX_LIMIT:\n", "    if skip > MAX_SKIP:\n"),
        ("ids out of range are left to the ordinary route", "plain_reads.py", "    return product_id if 1 <= product_id <= products.MAX_ID else None\n", "    return product_id\n"),
        ("digits are ASCII", "plain_reads.py", "not (digits.isascii() and digits.isdigit())", "not digits.isdigit()"),
        ("a read with a body is not plain", "plain_reads.py", "                if name in _BODY:\n", "                if False:\n"),
        ("groups are as many as the setting says", "app.py", "lanes=settings.read_groups", "lanes=2", "tests/integration/catalog/test_read_costs.py"),
        ("conditions are looked at", "plain_reads.py", "                    conditions.append((name, value))\n", "                    pass\n"),
        ("only a tag needs no parser", "plain_reads.py", 'value[1:-1].replace(b"-", b"").isdigit()', "True"),
    ),
    *_guards(
        EDGE, TRAFFIC,
        ("a path that can be read in two ways is nobody's", "routes.py", '        _refusal({"safe_regex": {"regex": AMBIGUOUS}}, 404),\n', "", GATEWAY),
        ("a URL has a length", "routes.py", '        _refusal({"prefix": "/", "headers": [_header(":path", _longer_than(MAX_URL))]}, 414),\n', "", GATEWAY),
        ("what a client cannot know is not served", "routes.py", 'below=("/sync",)', 'below=("/sync", "/internal")', GATEWAY),
        ("a body has the size of its route", "routes.py", '"buffer": {"max_request_bytes": service.body}', '"buffer": {"max_request_bytes": 1 << 20}'),
        ("only what is safe is sent twice", "routes.py", "yield _route(service, match, _action(service.name, UNSENT_RETRY))", "yield _route(service, match, _action(service.name, SAFE_RETRY))"),
        ("what was never sent is sent elsewhere", "routes.py", '{"retry_policy": retry} if retry else {}', "{}"),
        ("a body may not pause for long", "routes.py", '"idle_timeout": f"{idle}s"', '"idle_timeout": "600s"'),
        ("a stream is not cut", "routes.py", "SAFE_RETRY, 0, STREAM_IDLE)", "SAFE_RETRY)"),
        ("headers have a time", "listener.py", '        "request_headers_timeout": "10s",\n', ""),
        ("a whole request has a time", "listener.py", '        "request_timeout": f"{routes.WHOLE}s",\n', ""),
        ("a client cannot choose its address", "listener.py", '"request_headers_to_add": [client]', '"request_headers_to_add": []', GATEWAY),
        ("trusted proxies are counted", "listener.py", '"xff_num_trusted_hops": settings.trusted_proxy_hops', '"xff_num_trusted_hops": 0'),
        ("answers do not name the software", "listener.py", '"response_headers_to_remove": ["server", ', '"response_headers_to_remove": [', GATEWAY),
        ("a request id has few characters", "filters.py", "[_request_ids(), ", "[", GATEWAY),
        ("a compressed product has a strong tag", "filters.py", "_buffer(), _tags(), ", "_buffer(), "),
        ("short answers are not compressed", "filters.py", '"min_content_length": 1024', '"min_content_length": 30'),
        ("a replica that is not ready gets nothing", "clusters.py", '{"healthy_panic_threshold": {"value": 0}}', "{}"),
        ("more than a service takes is not queued", "clusters.py", '        "circuit_breakers": {"thresholds": [threshold]},\n', ""),
        ("a query string is in no span", "telemetry.py", '"custom_tags": [{"tag": "http.url", ', '"custom_tags": [{"tag": "url", '),
        ("a query string is in no line", "telemetry.py", "%REQ(:METHOD):20% %PATH(NQ):200% -> ", "%REQ(:METHOD):20% %PATH(WQ):200% -> ", GATEWAY),
        ("services' requests are not logged twice", "telemetry.py", "response.code_details != 'via_upstream'", "response.code_details != ''", GATEWAY),
        ("a gateway that ends finishes its requests", "process.py", "        while _requests(admin_socket) and time.monotonic() < end:\n            time.sleep(0.05)\n", ""),
        ("a gateway that ends is not ready", "process.py", '        _ask(admin_socket, "POST", "/healthcheck/fail")\n', ""),
        ("Envoy ends with its parent", "process.py", "        _prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)\n", "        pass\n"),
    ),
]  # fmt: skip
