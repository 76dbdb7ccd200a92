// Host code for one guest snippet per instruction class, compared with the text files beside this one, so
// that a change of code quality is a diff to review. After an intended change run the tests once with
// LHYPE_GOLDEN_UPDATE=1 and commit what changed.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Lhype.Tests.Tidy;
using Xunit;

namespace Lhype.Tests.Cpu.Golden;

public sealed class GoldenTests
{
    private static readonly string Folder = Path.Combine(SourceTree.Root, "tests/Lhype.Tests/Cpu/Golden");

    private static bool Updating => Environment.GetEnvironmentVariable("LHYPE_GOLDEN_UPDATE") == "1";

    public static TheoryData<string> Names() => [.. GoldenSnippet.All.Select(snippet => snippet.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Host_code_is_as_reviewed(string name)
    {
        GoldenSnippet snippet = GoldenSnippet.All.Single(one => one.Name == name);
        string file = Path.Combine(Folder, name + ".txt");
        string actual = HostCodeText.Of(snippet);
        if (Updating)
        {
            File.WriteAllText(file, actual);
        }

        string expected = File.Exists(file) ? File.ReadAllText(file) : "";
        Assert.True(expected == actual, $"{name}.txt differs from what is emitted now (- expected, + now); "
            + $"if that is intended, run with LHYPE_GOLDEN_UPDATE=1\n{Difference(expected, actual)}");
    }

    /// <summary>Each text comes from a vCPU of its own, at other addresses: what differs between two is not
    /// named symbolically.</summary>
    [Fact]
    public void Text_does_not_depend_on_addresses() => Assert.All(GoldenSnippet.All, snippet =>
        Assert.Equal(HostCodeText.Of(snippet), HostCodeText.Of(snippet)));

    [Fact]
    public void Every_text_has_its_snippet() =>
        Assert.Empty(Directory.GetFiles(Folder, "*.txt").Select(Path.GetFileNameWithoutExtension)
            .Except(GoldenSnippet.All.Select(snippet => snippet.Name)));

    /// <summary>All lines of both texts, those in only one of them marked: longest common
    /// subsequence.</summary>
    private static string Difference(string expected, string actual)
    {
        string[] old = expected.Split('\n');
        string[] now = actual.Split('\n');
        int[,] common = new int[old.Length + 1, now.Length + 1];
        for (int i = old.Length - 1; i >= 0; i--)
        {
            for (int j = now.Length - 1; j >= 0; j--)
            {
                common[i, j] = old[i] == now[j] ? common[i + 1, j + 1] + 1
                    : Math.Max(common[i + 1, j], common[i, j + 1]);
            }
        }

        StringBuilder text = new();
        for (int i = 0, j = 0; i < old.Length || j < now.Length;)
        {
            if (i < old.Length && j < now.Length && old[i] == now[j])
            {
                text.Append("  ").Append(old[i++]).Append('\n');
                j++;
            }
            else if (j == now.Length || (i < old.Length && common[i + 1, j] >= common[i, j + 1]))
            {
                text.Append("- ").Append(old[i++]).Append('\n');
            }
            else
            {
                text.Append("+ ").Append(now[j++]).Append('\n');
            }
        }

        return text.ToString();
    }
}
