-- Sample data of docker-compose.yaml in MariaDB, for the example Dag of MySqlSource: run once, in the database parcels.

CREATE TABLE parcels (
  id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
  recipient VARCHAR(100) NOT NULL,
  weight_kg DECIMAL(8, 3) NOT NULL,
  state ENUM ('packed', 'on its way', 'delivered') NOT NULL,
  deleted_at DATETIME(6) NULL,
  updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
  KEY parcels_changes (updated_at, id)
);

INSERT INTO parcels (recipient, weight_kg, state, deleted_at, updated_at)
SELECT CONCAT('Recipient ', seq), seq / 7, 1 + seq % 3, IF(seq % 50 = 0, '2026-01-02', NULL), '2026-01-01' + INTERVAL seq SECOND
FROM seq_1_to_2000;

-- What is open elsewhere tells up to where the table can be read: docs/mysql.md.
CREATE USER parcels_reader@'%' IDENTIFIED BY 'parcels_reader';
GRANT SELECT ON parcels.parcels TO parcels_reader@'%';
GRANT PROCESS, SLAVE MONITOR ON *.* TO parcels_reader@'%';
