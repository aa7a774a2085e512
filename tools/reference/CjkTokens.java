// Writes tests/data/words/lucene.jsonl: the terms that Lucene's CJKAnalyzer, without stop words, has for each line of
// standard input (a backslash, u and four digits stand for a character). As src/text/search_tokens.h says, the text is first brought into
// normal form C, and Hangul and Katakana are set apart from what isn't Chinese, Japanese or Korean.
//
//   mvn dependency:copy-dependencies of org.apache.lucene:lucene-analysis-common:9.12.0 into LIB, then
//   java -cp 'LIB/*' tools/reference/CjkTokens.java < tests/data/words/texts.txt > tests/data/words/lucene.jsonl
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.CharArraySet;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.cjk.CJKAnalyzer;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;

public class CjkTokens {
  private static final String RUN = "\\p{IsHangul}\\p{IsKatakana}ー";
  private static final String MARKS = "\\p{M}\uFF9E\uFF9F";
  private static final String CJK = RUN + "\\p{IsHan}\\p{IsHiragana}";
  private static final Pattern BORDER = Pattern.compile(
      "(?<=[" + RUN + "][" + MARKS + "]{0,9})(?=[^" + CJK + MARKS + "])|(?<![" + CJK + MARKS + "])(?=[" + RUN + "])");

  private static String quote(String s) {
    StringBuilder out = new StringBuilder("\"");
    for (char c : s.toCharArray()) {
      if (c == '"' || c == '\\') out.append('\\').append(c);
      else if (c < 0x20) out.append(String.format("\\u%04x", (int) c));
      else out.append(c);
    }
    return out.append('"').toString();
  }

  private static List<String> tokens(Analyzer analyzer, String text) throws Exception {
    List<String> out = new ArrayList<>();
    try (TokenStream stream = analyzer.tokenStream("text", text)) {
      CharTermAttribute term = stream.addAttribute(CharTermAttribute.class);
      stream.reset();
      while (stream.incrementToken()) out.add(quote(term.toString()));
      stream.end();
    }
    return out;
  }

  public static void main(String[] args) throws Exception {
    Analyzer analyzer = new CJKAnalyzer(CharArraySet.EMPTY_SET);
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = in.readLine()) != null; ) {
      String text = Pattern.compile("\\\\u([0-9A-F]{4})").matcher(line)
          .replaceAll(m -> String.valueOf((char) Integer.parseInt(m.group(1), 16)));
      String apart = BORDER.matcher(Normalizer.normalize(text, Normalizer.Form.NFC)).replaceAll(" ");
      out.println("{\"text\": " + quote(text) + ", \"tokens\": [" + String.join(", ", tokens(analyzer, apart)) + "]}");
    }
  }
}
