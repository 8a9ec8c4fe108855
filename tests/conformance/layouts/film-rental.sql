-- A film rental shop, laid out as Pagila is: triggers set last_update, payments are in partitions.
CREATE FUNCTION last_updated() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.last_update = CURRENT_TIMESTAMP; RETURN NEW; END $$;
CREATE TYPE mpaa_rating AS ENUM ('G', 'PG', 'PG-13', 'R', 'NC-17');
CREATE DOMAIN year AS integer CHECK (VALUE >= 1901 AND VALUE <= 2155);
CREATE TABLE language (language_id serial PRIMARY KEY, name character(20) NOT NULL, last_update timestamptz NOT NULL DEFAULT now());
CREATE TABLE actor (
    actor_id serial PRIMARY KEY, first_name text NOT NULL, last_name text NOT NULL, last_update timestamptz NOT NULL DEFAULT now());
CREATE TABLE film (
    film_id serial PRIMARY KEY, title text NOT NULL, description text, release_year year,
    language_id integer NOT NULL REFERENCES language, rental_rate numeric(4,2) NOT NULL DEFAULT 4.99,
    rating mpaa_rating DEFAULT 'G', last_update timestamptz NOT NULL DEFAULT now(), special_features text[], fulltext tsvector);
CREATE TABLE film_actor (
    actor_id integer NOT NULL REFERENCES actor, film_id integer NOT NULL REFERENCES film,
    last_update timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (actor_id, film_id));
CREATE TABLE payment (
    payment_id integer NOT NULL, amount numeric(5,2) NOT NULL, payment_date timestamptz NOT NULL,
    PRIMARY KEY (payment_date, payment_id)) PARTITION BY RANGE (payment_date);
CREATE TABLE payment_2026 PARTITION OF payment FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE VIEW actor_info AS SELECT actor_id, first_name FROM actor;
CREATE INDEX ON film (last_update, film_id);
CREATE TRIGGER last_updated BEFORE UPDATE ON film FOR EACH ROW EXECUTE FUNCTION last_updated();
CREATE TRIGGER last_updated BEFORE UPDATE ON actor FOR EACH ROW EXECUTE FUNCTION last_updated();
CREATE TRIGGER last_updated BEFORE UPDATE ON language FOR EACH ROW EXECUTE FUNCTION last_updated();
CREATE TRIGGER last_updated BEFORE UPDATE ON film_actor FOR EACH ROW EXECUTE FUNCTION last_updated();
INSERT INTO language (name, last_update) SELECT format('language %s', n), now() - interval '1 day' FROM generate_series(1, 5) AS n;
INSERT INTO actor (first_name, last_name, last_update)
SELECT format('first %s', n), format('last %s', n), now() - interval '1 day' FROM generate_series(1, 50) AS n;
INSERT INTO film (title, language_id, last_update) SELECT format('film %s', n), 1 + n % 5, now() - interval '1 day'
FROM generate_series(1, 100) AS n;
INSERT INTO film_actor (actor_id, film_id, last_update) SELECT 1 + n % 50, 1 + n % 100, now() - interval '1 day'
FROM generate_series(1, 100) AS n;
