-- Sample data for the example Dags: a shop (source) and an empty search database (target), each with a role of its own.
-- For psql, as a superuser and on a server of its own: it makes two databases and two roles.

CREATE ROLE shop_reader LOGIN PASSWORD 'shop_reader';
CREATE ROLE search_writer LOGIN PASSWORD 'search_writer';
CREATE DATABASE shop;
CREATE DATABASE search;

\connect search

GRANT USAGE, CREATE ON SCHEMA public TO search_writer;
CREATE EXTENSION vector;

\connect shop

-- Every change moves updated_at forward, also where the writer forgets it.
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN NEW.updated_at := now(); RETURN NEW; END';

CREATE TABLE public.products (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    description text,
    category text NOT NULL,
    price numeric(10, 2) NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE TABLE public.customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text,
    email text NOT NULL,
    consent boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.order_lines (
    order_id bigint NOT NULL,
    line int NOT NULL,
    product_id bigint NOT NULL REFERENCES public.products,
    quantity int NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, line)
);
CREATE TABLE public.brands (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    country text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.makers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.stores (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    city text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.shelves (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    place text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.reviews (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id bigint NOT NULL REFERENCES public.products,
    stars int NOT NULL,
    words text,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.invoices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    amount numeric(10, 2) NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.recipes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    tags text[] NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE TABLE public.tickets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text,
    message text,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.suppliers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    city text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE TABLE public.depots (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    street text NOT NULL,
    places integer NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.articles (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    body text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.manuals (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    body text NOT NULL,
    price numeric(10, 2) NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

CREATE TABLE public.guides (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    body text NOT NULL,
    price numeric(10, 2) NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE TABLE public.shipments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    total numeric(9,2) NOT NULL,
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);
CREATE TABLE public.artists (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    country text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.albums (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    artist_id bigint NOT NULL REFERENCES public.artists,
    title text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.tracks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    album_id bigint NOT NULL REFERENCES public.albums,
    place int NOT NULL,
    title text NOT NULL,
    seconds int NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- The last ninety days, so that there are ranges to backfill.
INSERT INTO public.products (title, description, category, price, updated_at, deleted_at)
SELECT format('%s %s no. %s', colour, thing, n), format('A %s %s of the %s series.', colour, thing, 1 + n % 9), thing,
       5 + n % 400 / 4.0, now() - n * interval '64 minutes', CASE WHEN n % 40 = 0 THEN now() - n * interval '64 minutes' END
FROM generate_series(1, 2000) AS n,
     LATERAL (SELECT (ARRAY['red', 'blue', 'green', 'grey', 'yellow'])[1 + n % 5] AS colour,
                     (ARRAY['lamp', 'chair', 'desk', 'shelf', 'rug', 'mirror', 'clock'])[1 + n % 7] AS thing) AS words;

INSERT INTO public.customers (name, email, consent, updated_at)
SELECT CASE WHEN n % 50 > 0 THEN format('customer number %s', n) END,
       format('customer%s@%s.example', n, (ARRAY['post', 'mail', 'letters'])[1 + n % 3]),
       n % 4 > 0, now() - n * interval '4 hours'
FROM generate_series(1, 500) AS n;

INSERT INTO public.order_lines (order_id, line, product_id, quantity, updated_at)
SELECT o, l, 1 + (o * 7 + l) % 2000, 1 + o % 3, now() - o * interval '85 minutes'
FROM generate_series(1, 1500) AS o, generate_series(1, 1 + o % 4) AS l;

INSERT INTO public.brands (name, country, updated_at)
SELECT format('brand %s', n), (ARRAY['Finland', 'Japan', 'Peru'])[1 + n % 3], now() - n * interval '10 hours'
FROM generate_series(1, 200) AS n;

INSERT INTO public.makers (name, updated_at)
SELECT format('maker %s', n), now() - n * interval '5 hours' FROM generate_series(1, 150) AS n;

INSERT INTO public.stores (city, updated_at)
SELECT format('city %s', n), now() - n * interval '5 hours' FROM generate_series(1, 150) AS n;

INSERT INTO public.shelves (place, updated_at)
SELECT format('aisle %s', n), now() - n * interval '5 hours' FROM generate_series(1, 150) AS n;

INSERT INTO public.reviews (product_id, stars, words, updated_at)
SELECT 1 + n % 2000, 1 + n % 5, format('review no. %s', n), now() - n * interval '40 minutes'
FROM generate_series(1, 3000) AS n;

INSERT INTO public.invoices (tenant, amount, updated_at)
SELECT (ARRAY['north', 'south', 'west'])[1 + n % 3], n % 900 / 2.0, now() - n * interval '2 hours'
FROM generate_series(1, 1000) AS n;

INSERT INTO public.recipes (title, tags, updated_at, deleted_at)
SELECT format('%s with %s no. %s', dish, part, n), ARRAY[dish, part], now() - n * interval '3 hours',
       CASE WHEN n % 30 = 0 THEN now() - n * interval '3 hours' END
FROM generate_series(1, 700) AS n,
     LATERAL (SELECT (ARRAY['soup', 'pie', 'salad'])[1 + n % 3] AS dish, (ARRAY['leek', 'nuts'])[1 + n % 2] AS part) AS words;

INSERT INTO public.tickets (subject, message, updated_at)
SELECT CASE WHEN n % 20 > 0 THEN format('ticket no. %s', n) END, format('order %s has not come', n), now() - n * interval '5 hours'
FROM generate_series(1, 400) AS n;

INSERT INTO public.suppliers (name, city, updated_at, deleted_at)
SELECT format('supplier no. %s', n), (ARRAY['Oslo', 'Lima', 'Kyoto'])[1 + n % 3], now() - n * interval '6 hours',
       CASE WHEN n % 25 = 0 THEN now() - n * interval '6 hours' END
FROM generate_series(1, 300) AS n;

INSERT INTO public.depots (street, places, updated_at)
SELECT format('street no. %s', n), n % 70, now() - n * interval '9 hours'
FROM generate_series(1, 150) AS n;

INSERT INTO public.manuals (title, body, price, updated_at, deleted_at)
SELECT format('Manual of %s no. %s', thing, n), format('How to use, clean and mend the %s.', thing), 1 + n % 90 / 10.0,
       now() - n * interval '5 hours', CASE WHEN n % 30 = 0 THEN now() - n * interval '5 hours' END
FROM generate_series(1, 400) AS n, LATERAL (SELECT (ARRAY['kettle', 'lamp', 'drill'])[1 + n % 3] AS thing) AS words;

INSERT INTO public.guides (title, body, price, updated_at, deleted_at)
SELECT format('Manual of %s no. %s', thing, n), format('How to use, clean and mend the %s.', thing), 1 + n % 90 / 10.0,
       now() - n * interval '5 hours', CASE WHEN n % 30 = 0 THEN now() - n * interval '5 hours' END
FROM generate_series(1, 400) AS n, LATERAL (SELECT (ARRAY['kettle', 'lamp', 'drill'])[1 + n % 3] AS thing) AS words;

INSERT INTO public.articles (title, body, updated_at)
SELECT format('%s no. %s', title, n), format('%s Article no. %s of the series.', body, n), now() - n * interval '7 hours'
FROM generate_series(1, 150) AS n,
     LATERAL (SELECT (ARRAY['Wool hats', 'Sandals', 'Kettles'])[1 + n % 3] AS title,
                     (ARRAY['They keep your head warm in winter.', 'For the beach and hot days.',
                            'They boil water for tea in a minute.'])[1 + n % 3] AS body) AS words;

INSERT INTO public.shipments (total, updated_at)
SELECT n % 300 / 4.0, now() AT TIME ZONE 'UTC' - n * interval '5 hours'
FROM generate_series(1, 250) AS n;

INSERT INTO public.artists (name, country, updated_at)
SELECT format('the %s', n), (ARRAY['Finland', 'Japan', 'Peru'])[1 + n % 3], now() - n * interval '20 hours'
FROM generate_series(1, 100) AS n;

INSERT INTO public.albums (artist_id, title, updated_at)
SELECT 1 + n % 100, format('album no. %s', n), now() - n * interval '3 hours' FROM generate_series(1, 600) AS n;

INSERT INTO public.tracks (album_id, place, title, seconds, updated_at)
SELECT a, t, format('track %s of %s', t, a), 120 + (a * t) % 200, now() - a * interval '3 hours'
FROM generate_series(1, 600) AS a, generate_series(1, 8) AS t;

CREATE TRIGGER touch BEFORE UPDATE ON public.products FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.customers FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.order_lines FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.brands FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.makers FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.stores FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.shelves FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.reviews FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.invoices FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.recipes FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.tickets FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.suppliers FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.depots FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.articles FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.manuals FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.guides FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.artists FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.albums FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.tracks FOR EACH ROW EXECUTE FUNCTION touch();

-- What lets a run find its rows without reading the whole table.
CREATE INDEX ON public.products (updated_at, id);
CREATE INDEX ON public.manuals (updated_at, id);
CREATE INDEX ON public.guides (updated_at, id);
CREATE INDEX ON public.customers (updated_at, id);
CREATE INDEX ON public.order_lines (updated_at, order_id, line);
CREATE INDEX ON public.brands (updated_at, id);
CREATE INDEX ON public.makers (updated_at, id);
CREATE INDEX ON public.stores (updated_at, id);
CREATE INDEX ON public.shelves (updated_at, id);
CREATE INDEX ON public.reviews (updated_at, id);
CREATE INDEX ON public.invoices (updated_at, id);
CREATE INDEX ON public.invoices (tenant, updated_at, id);
CREATE INDEX ON public.recipes (updated_at, id);
CREATE INDEX ON public.tickets (updated_at, id);
CREATE INDEX ON public.suppliers (updated_at, id);
CREATE INDEX ON public.depots (updated_at, id);
CREATE INDEX ON public.articles (updated_at, id);
CREATE INDEX ON public.shipments (updated_at, id);
CREATE INDEX ON public.artists (updated_at, id);
CREATE INDEX ON public.albums (updated_at, id);
CREATE INDEX ON public.albums (artist_id);
CREATE INDEX ON public.tracks (updated_at, album_id);
CREATE INDEX ON public.tracks (album_id);

-- What tombstone_ddl() of the albums' source prints: what leaves an album is recorded.
BEGIN;
SET LOCAL lock_timeout = '10s';
CREATE TABLE IF NOT EXISTS "public"."albums_tombstones" AS SELECT "id", "updated_at" FROM "public"."albums" WITH NO DATA;
ALTER TABLE "public"."albums_tombstones" ALTER COLUMN "id" SET NOT NULL, ALTER COLUMN "updated_at" SET NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS "albums_tombstones_key" ON "public"."albums_tombstones" ("id");
CREATE INDEX IF NOT EXISTS "albums_tombstones_order" ON "public"."albums_tombstones" ("updated_at", "id");
GRANT SELECT ON "public"."albums_tombstones" TO "shop_reader";
CREATE OR REPLACE FUNCTION "public"."albums_tombstones"() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = '' SET row_security = off AS '
BEGIN
  IF TG_OP = ''TRUNCATE'' THEN
    IF current_setting(''transaction_isolation'') <> ''read committed'' THEN
      RAISE EXCEPTION ''TRUNCATE of % is recorded in READ COMMITTED transactions only: this one may not see all rows'',
        TG_TABLE_NAME;
    END IF;
    INSERT INTO "public"."albums_tombstones" AS t ("id", "updated_at") SELECT "id", now() FROM "public"."albums"
    ON CONFLICT ("id") DO UPDATE SET "updated_at" = greatest(t."updated_at", excluded."updated_at");
  ELSE
    INSERT INTO "public"."albums_tombstones" AS t ("id", "updated_at") VALUES (OLD."id", now())
    ON CONFLICT ("id") DO UPDATE SET "updated_at" = greatest(t."updated_at", excluded."updated_at");
  END IF;
  RETURN NULL;
END
';
REVOKE ALL ON FUNCTION "public"."albums_tombstones"() FROM PUBLIC;
CREATE OR REPLACE TRIGGER "albums_tombstones_delete" AFTER DELETE ON "public"."albums" FOR EACH ROW EXECUTE FUNCTION "public"."albums_tombstones"();
CREATE OR REPLACE TRIGGER "albums_tombstones_update" AFTER UPDATE ON "public"."albums" FOR EACH ROW WHEN (OLD."id" IS DISTINCT FROM NEW."id") EXECUTE FUNCTION "public"."albums_tombstones"();
CREATE OR REPLACE TRIGGER "albums_tombstones_truncate" BEFORE TRUNCATE ON "public"."albums" FOR EACH STATEMENT EXECUTE FUNCTION "public"."albums_tombstones"();
ALTER TABLE "public"."albums" ENABLE ALWAYS TRIGGER "albums_tombstones_delete";
ALTER TABLE "public"."albums" ENABLE ALWAYS TRIGGER "albums_tombstones_update";
ALTER TABLE "public"."albums" ENABLE ALWAYS TRIGGER "albums_tombstones_truncate";
SET LOCAL lock_timeout = '10s';
CREATE TABLE IF NOT EXISTS "public"."tracks_album_id_tombstones" AS SELECT "album_id", "updated_at" FROM "public"."tracks" WITH NO DATA;
ALTER TABLE "public"."tracks_album_id_tombstones" ALTER COLUMN "album_id" SET NOT NULL, ALTER COLUMN "updated_at" SET NOT NULL;
CREATE INDEX IF NOT EXISTS "tracks_album_id_tombstones_key" ON "public"."tracks_album_id_tombstones" ("album_id", "updated_at");
CREATE INDEX IF NOT EXISTS "tracks_album_id_tombstones_order" ON "public"."tracks_album_id_tombstones" ("updated_at", "album_id");
GRANT SELECT ON "public"."tracks_album_id_tombstones" TO "shop_reader";
CREATE OR REPLACE FUNCTION "public"."tracks_album_id_tombstones"() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = '' SET row_security = off AS '
BEGIN
  IF TG_OP = ''TRUNCATE'' THEN
    IF current_setting(''transaction_isolation'') <> ''read committed'' THEN
      RAISE EXCEPTION ''TRUNCATE of % is recorded in READ COMMITTED transactions only: this one may not see all rows'',
        TG_TABLE_NAME;
    END IF;
    INSERT INTO "public"."tracks_album_id_tombstones" ("album_id", "updated_at") SELECT DISTINCT "album_id", now() FROM "public"."tracks" AS t WHERE ("album_id") IS NOT NULL;
  ELSIF (OLD."album_id") IS NOT NULL THEN
    INSERT INTO "public"."tracks_album_id_tombstones" ("album_id", "updated_at") VALUES (OLD."album_id", now());
  END IF;
  RETURN NULL;
END
';
REVOKE ALL ON FUNCTION "public"."tracks_album_id_tombstones"() FROM PUBLIC;
CREATE OR REPLACE TRIGGER "tracks_album_id_tombstones_delete" AFTER DELETE ON "public"."tracks" FOR EACH ROW EXECUTE FUNCTION "public"."tracks_album_id_tombstones"();
CREATE OR REPLACE TRIGGER "tracks_album_id_tombstones_update" AFTER UPDATE ON "public"."tracks" FOR EACH ROW WHEN (OLD."album_id" IS DISTINCT FROM NEW."album_id") EXECUTE FUNCTION "public"."tracks_album_id_tombstones"();
CREATE OR REPLACE TRIGGER "tracks_album_id_tombstones_truncate" BEFORE TRUNCATE ON "public"."tracks" FOR EACH STATEMENT EXECUTE FUNCTION "public"."tracks_album_id_tombstones"();
ALTER TABLE "public"."tracks" ENABLE ALWAYS TRIGGER "tracks_album_id_tombstones_delete";
ALTER TABLE "public"."tracks" ENABLE ALWAYS TRIGGER "tracks_album_id_tombstones_update";
ALTER TABLE "public"."tracks" ENABLE ALWAYS TRIGGER "tracks_album_id_tombstones_truncate";
DO $reindex$ BEGIN
  IF '{"owner": ["public", "albums"], "columns": ["id"]}' <> ALL (string_to_array(coalesce(obj_description('"public"."tracks_album_id_tombstones"'::regclass), ''), E'\n')) THEN
    EXECUTE format('COMMENT ON TABLE %s IS %L', '"public"."tracks_album_id_tombstones"'::regclass,
      concat_ws(E'\n', obj_description('"public"."tracks_album_id_tombstones"'::regclass), '{"owner": ["public", "albums"], "columns": ["id"]}'));
  END IF;
END $reindex$;
COMMIT;

GRANT USAGE ON SCHEMA public TO shop_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_reader;
GRANT pg_read_all_stats TO shop_reader;
