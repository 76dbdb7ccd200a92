// A line of input on a terminal in raw mode: the monitor must echo and edit itself, because the terminal no
// longer does.

using System.Text;

namespace Lhype.Terminal;

/// <summary>Collects one line from single keys.</summary>
internal sealed class LineEditor
{
    private const int MaxLength = 200;

    private readonly StringBuilder _line = new();

    /// <summary>Takes a key. <paramref name="echo"/> is what to show for it. Returns the line when it is
    /// complete; an empty string also for Ctrl-C, and null for Ctrl-D on an empty line.</summary>
    internal bool Take(byte key, out string echo, out string? line)
    {
        echo = "";
        line = "";
        switch (key)
        {
            case (byte)'\r' or (byte)'\n':
                echo = "\r\n";
                line = _line.ToString().Trim();
                _line.Clear();
                return true;
            case 3:
                echo = "^C\r\n";
                _line.Clear();
                return true;
            case 4 when _line.Length == 0:
                echo = "\r\n";
                line = null;
                return true;
            case 8 or 0x7F when _line.Length != 0:
                _line.Length--;
                echo = "\b \b";
                return false;
            case >= 0x20 and < 0x7F when _line.Length < MaxLength:
                _line.Append((char)key);
                echo = ((char)key).ToString();
                return false;
            default:
                return false;
        }
    }
}
