import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;

/** Reads with ClickHouse's JDBC driver, as DBeaver and Metabase do. Arguments: URL, user, password, statements. */
class RunJdbc {
    public static void main(String[] words) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", words[1]);
        properties.setProperty("password", words[2]);
        try (Connection connection = DriverManager.getConnection(words[0], properties)) {
            System.out.println("server " + connection.getMetaData().getDatabaseProductVersion());
            try (ResultSet tables = connection.getMetaData().getTables(null, "radar", "trades", null)) {
                while (tables.next()) System.out.println("table " + tables.getString("TABLE_NAME"));
            }
            try (ResultSet columns = connection.getMetaData().getColumns(null, "radar", "trades", "%")) {
                while (columns.next()) {
                    System.out.println("column " + columns.getString("COLUMN_NAME"));
                }
            }
            for (int n = 3; n < words.length; n++) {
                try (Statement statement = connection.createStatement();
                        ResultSet rows = statement.executeQuery(words[n])) {
                    ResultSetMetaData facts = rows.getMetaData();
                    while (rows.next()) {
                        StringBuilder line = new StringBuilder("row");
                        for (int column = 1; column <= facts.getColumnCount(); column++) {
                            line.append(' ').append(rows.getString(column));
                        }
                        System.out.println(line);
                    }
                } catch (SQLException error) {
                    System.out.println("error " + error.getMessage().split("\n")[0]);
                }
            }
        }
    }
}
