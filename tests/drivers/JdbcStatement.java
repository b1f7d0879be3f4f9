import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/** JDBC: runs one statement, tells how it failed, and whether the connection lives on. Run from its source. */
public final class JdbcStatement {
    public static void main(String[] args) throws SQLException {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE") + "?user=" + System.getenv("PGUSER") + "&sslmode=disable&gssEncMode=disable";
        Connection connection = DriverManager.getConnection(url);
        try (Statement statement = connection.createStatement()) {
            statement.execute(args[0]);
            System.out.println("no error");
        } catch (SQLException error) {
            System.out.println("error: " + error.getSQLState() + " " + error.getMessage().replaceAll("\\s+", " "));
        }
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery("SELECT 'alive'")) {
            rows.next();
            System.out.println("then: " + rows.getString(1));
        } catch (SQLException error) {
            System.out.println("then: closed");
        }
    }
}
