-- Run by the postgres image when its volume is empty. The passwords come from the environment of the container,
-- so that they stand in no file and in no process title.
\getenv auth AUTH_DB_PASSWORD
\getenv catalog CATALOG_DB_PASSWORD
\getenv sync SYNC_DB_PASSWORD
SELECT set_config('bootstrap.auth_password', :'auth', false),
       set_config('bootstrap.catalog_password', :'catalog', false),
       set_config('bootstrap.sync_password', :'sync', false)
\g /dev/null
\i /bootstrap.sql
