import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;

/** JDBC: server-side prepared statements, batches, cursors by fetch size, binary transfer, the simple protocol. */
public final class JdbcDriver {
    public static void main(String[] args) throws SQLException {
        int rounds = Math.max(1, Integer.parseInt(args[0]) / 100);
        // The same work in the extended protocol with named statements from the second use on, and in the simple one.
        work("prepareThreshold=2&binaryTransferEnable=int4,int8,float8", rounds, "jdbc_t");
        work("preferQueryMode=simple", rounds, "jdbc_simple_t");
        work("preferQueryMode=extendedCacheEverything&prepareThreshold=1", rounds, "jdbc_cached_t");
    }

    private static String env(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null ? otherwise : value;
    }

    private static void work(String options, int rounds, String table) throws SQLException {
        String host = env("PGHOST", "127.0.0.1");
        String url = "jdbc:postgresql://" + (host.contains(":") ? "[" + host + "]" : host) + ":" + env("PGPORT", "5432")
            + "/" + env("PGDATABASE", "postgres") + "?user=" + env("PGUSER", "postgres") + "&sslmode=disable"
            + "&gssEncMode=disable&ApplicationName=" + env("PGAPPNAME", "jdbc") + "&" + options;
        try (Connection connection = DriverManager.getConnection(url); Statement statement = connection.createStatement()) {
            statement.execute("DROP TABLE IF EXISTS " + table);
            statement.execute("CREATE TABLE " + table + " (n int, name text, data bytea, at timestamp, price numeric)");
            for (int n = 0; n < rounds; n++) {
                // In the simple protocol this version of the driver sends a syntax error for a bytea.
                inserts(connection, table, n, !options.contains("simple"));
                reads(connection, table, n);
                failures(connection, table);
            }
            statement.execute("DROP TABLE " + table);
        }
    }

    private static void inserts(Connection connection, String table, int n, boolean takesBytes) throws SQLException {
        String text = "INSERT INTO " + table + " (n, name, data, at, price) VALUES (?, ?, ?, ?, ?)";
        try (PreparedStatement insert = connection.prepareStatement(text)) {
            for (int k = 0; k < 5; k++) {
                insert.setInt(1, n);
                insert.setString(2, "it's “" + k + "” \uD83E\uDD80");
                insert.setBytes(3, takesBytes ? new byte[] {0, 1, (byte) 0xff} : null);
                insert.setTimestamp(4, new Timestamp(1_700_000_000_000L));
                insert.setBigDecimal(5, new BigDecimal("12.50"));
                insert.executeUpdate();
            }
            for (int k = 0; k < 10; k++) {
                insert.setInt(1, n);
                insert.setNull(2, Types.VARCHAR);
                insert.setBytes(3, null);
                insert.setTimestamp(4, null);
                insert.setBigDecimal(5, BigDecimal.valueOf(k));
                insert.addBatch();
            }
            insert.executeBatch();
        }
    }

    private static void reads(Connection connection, String table, int n) throws SQLException {
        try (PreparedStatement select = connection.prepareStatement("SELECT ?::int4, ?::int8, ?::float8, ?::text")) {
            for (int k = 0; k < 6; k++) {
                select.setInt(1, k);
                select.setLong(2, 1L << 40);
                select.setDouble(3, -0.25);
                select.setString(4, "groß ".repeat(1 + 2000 * k));
                select.executeQuery().close();
            }
        }
        connection.setAutoCommit(false);
        try (PreparedStatement select = connection.prepareStatement("SELECT n, name FROM " + table + " WHERE n <= ?")) {
            select.setFetchSize(4);
            select.setInt(1, n);
            int rows = 0;
            try (ResultSet result = select.executeQuery()) {
                while (result.next()) {
                    rows++;
                }
            }
            if (rows < 15) {
                throw new SQLException("rows: " + rows);
            }
        }
        connection.commit();
        connection.setAutoCommit(true);
        try (Statement statement = connection.createStatement()) {
            statement.execute("SELECT 1; SELECT 'two; not three'; UPDATE " + table + " SET price = 0 WHERE n = " + n);
            statement.execute("/* a comment */ SELECT '" + "literal ".repeat(5000) + "'");
        }
    }

    private static void failures(Connection connection, String table) throws SQLException {
        String[] texts = {"SELEKT 1", "SELECT 1 / 0", "SELECT * FROM jdbc_no_such_table"};
        for (String text : texts) {
            try (PreparedStatement bad = connection.prepareStatement(text)) {
                bad.execute();
            } catch (SQLException expected) {
                continue;
            }
            throw new SQLException("no error from " + text);
        }
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.executeUpdate("DELETE FROM " + table);
            statement.execute("SELECT 1 / 0");
        } catch (SQLException expected) {
            connection.rollback();
        }
        connection.setAutoCommit(true);
    }
}
