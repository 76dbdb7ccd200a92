// What makes a terminal answer is left out of replayed output, everything else stays, however the bytes are
// cut up.

using System;
using System.Collections.Generic;
using System.Text;
using Lhype.Terminal;
using Xunit;

namespace Lhype.Tests.Terminal;

public sealed class TerminalQueriesTests
{
    [Theory]
    [InlineData("plain text\r\n", "plain text\r\n")]
    [InlineData("\e[1;31mred\e[0m", "\e[1;31mred\e[0m")]
    [InlineData("lhype:/root# \e[6nls", "lhype:/root# ls")]
    [InlineData("\e[c\e[>c\e[0c\e[5n\e[?6nx\eZ", "x")]
    [InlineData("\e[?25$p\e[!p", "\e[!p")]
    [InlineData("\e[18ta\u0005b", "ab")]
    [InlineData("\e7\e8\e(B\e[2J\e[H", "\e7\e8\e(B\e[2J\e[H")]
    [InlineData("unfinished \e[12", "unfinished \e[12")]
    public void QueriesAreLeftOut(string printed, string shown)
    {
        byte[] bytes = Encoding.Latin1.GetBytes(printed);
        for (int cut = 1; cut <= bytes.Length; cut++)
        {
            TerminalQueries queries = new();
            List<byte> output = [];
            for (int at = 0; at < bytes.Length; at += cut)
            {
                queries.Filter(bytes.AsSpan(at, Math.Min(cut, bytes.Length - at)), output);
            }

            queries.Flush(output);
            Assert.Equal(shown, Encoding.Latin1.GetString([.. output]));
        }
    }
}
