-- One login role and one schema per service; nobody sees another's. Idempotent: run it again to change passwords.
-- The passwords come as settings of the session, so that none stands in a file or in a process title:
--   SELECT set_config('bootstrap.auth_password', '...', false), and likewise catalog_password, sync_password.
DO $$
DECLARE
    service text;
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    FOREACH service IN ARRAY ARRAY['auth', 'catalog', 'sync'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = service || '_svc') THEN
            EXECUTE format('CREATE ROLE %I', service || '_svc');
        END IF;
        EXECUTE format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD %L',
                       service || '_svc', current_setting('bootstrap.' || service || '_password'));
        EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', current_database(), service || '_svc');
        -- Owning a schema as a non-superuser's guest needs membership on managed Postgres.
        EXECUTE format('GRANT %I TO CURRENT_USER', service || '_svc');
        EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', service, service || '_svc');
    END LOOP;
END
$$;
