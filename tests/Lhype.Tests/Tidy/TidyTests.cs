// House rules that a machine can check (CONTRIBUTING.md lists them). Each test prints every offence with its
// file and line and says what to do about it.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Xunit;

namespace Lhype.Tests.Tidy;

public sealed partial class TidyTests
{
    /// <summary>Write to 110; this is where the exceptions end.</summary>
    private const int LineColumns = 110;
    private const int FileLines = 700;
    private const long BlobBytes = 100 << 10;

    /// <summary>Project and what it may refer to.</summary>
    private static readonly Dictionary<string, string[]> Arrows = new()
    {
        ["Lhype"] = ["Lhype.Machine", "Lhype.Cpu", "Lhype.Host"],
        ["Lhype.Machine"] = ["Lhype.Cpu", "Lhype.Host"],
        ["Lhype.Cpu"] = ["Lhype.Host"],
        ["Lhype.Host"] = [],
    };

    private static readonly string[] SafeFolders = ["src/Lhype", "src/Lhype.Machine"];

    private static readonly string[] DeviceFolders =
    [
        "src/Lhype.Machine/Devices", "src/Lhype.Machine/Pci", "src/Lhype.Machine/Virtio",
        "src/Lhype.Machine/Bus",
        "src/Lhype.Machine/Block", "src/Lhype.Machine/Paravirt",
    ];

    /// <summary>Files that may hold static state, because what they describe is one per process: the kernel
    /// has one signal handler table.</summary>
    private static readonly string[] StaticStateAllowed = ["src/Lhype.Host/FaultHandler.cs"];

    [Fact]
    public void References_run_one_way()
    {
        foreach ((string project, string[] allowed) in Arrows)
        {
            XDocument file = XDocument.Parse(SourceTree.Text($"src/{project}/{project}.csproj"));
            IEnumerable<string> references = file.Descendants("ProjectReference")
                .Select(item => Path.GetFileNameWithoutExtension(item.Attribute("Include")!.Value));
            Assert.All(references, reference => Assert.Contains(reference, allowed));
        }

        Expect("the guest tests know only the published binary", Regex.Matches(
            SourceTree.Text("tests/Lhype.GuestTests/Lhype.GuestTests.csproj"), "ProjectReference")
            .Select(match => match.Value));
    }

    [Fact]
    public void Unsafe_code_is_only_in_Host_and_Cpu()
    {
        IEnumerable<string> allowing = SourceTree.Files
            .Where(file => file.StartsWith("src/", StringComparison.Ordinal)
                && file.EndsWith(".csproj", StringComparison.Ordinal)
                && SourceTree.Text(file).Contains("<AllowUnsafeBlocks>true", StringComparison.Ordinal));
        Assert.Equal(["src/Lhype.Cpu/Lhype.Cpu.csproj", "src/Lhype.Host/Lhype.Host.csproj"], allowing);
        Expect("use checked spans; unsafe code and its by-passes belong in Lhype.Host and Lhype.Cpu",
            Matches(SourceTree.CSharp(SafeFolders), UnsafeCode()));
    }

    [Fact]
    public void Devices_take_time_and_randomness_only_from_what_they_are_given() =>
        Expect("use VirtualClock and IEntropy, so that a run can be replayed",
            Matches(SourceTree.CSharp(DeviceFolders), HostTime()));

    [Fact]
    public void There_is_no_static_mutable_state() =>
        Expect("make it readonly, or a field of the machine",
            Matches(SourceTree.CSharp("src").Except(StaticStateAllowed), StaticField()));

    [Fact]
    public void Classes_are_named_for_what_they_are() =>
        Expect("name the class for what it is or does",
            Matches(SourceTree.CSharp("src", "tests"), BannedName()));

    [Fact]
    public void Files_and_lines_are_short() =>
        Expect($"at most {FileLines} lines of {LineColumns} columns", SourceTree.CSharp().SelectMany(file =>
        {
            string[] lines = SourceTree.Lines(file);
            IEnumerable<string> wide = lines.Index().Where(line => line.Item.Length > LineColumns)
                .Select(line => $"{file}:{line.Index + 1}: {line.Item.Length} columns");
            return lines.Length > FileLines ? wide.Append($"{file}: {lines.Length} lines") : wide;
        }));

    [Fact]
    public void Every_file_opens_with_a_comment() =>
        Expect("say in two lines why the file exists and who calls it", SourceTree.CSharp().Where(file =>
            !SourceTree.Text(file).StartsWith("// ", StringComparison.Ordinal)));

    [Fact]
    public void Public_types_and_members_have_docstrings() =>
        Expect("say what it is, in which unit, and how it fails",
            SourceTree.CSharp("src").SelectMany(Undocumented));

    [Fact]
    public void Documents_name_only_what_exists() =>
        Expect("the file is not there (any more)",
            ((string[])["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"]).SelectMany(document =>
                PathInDocument().Matches(SourceTree.Text(document))
                    .Select(match => match.Groups["path"].Value.TrimEnd('/', '.'))
                    .Where(path => !File.Exists(Path.Combine(SourceTree.Root, path))
                        && !Directory.Exists(Path.Combine(SourceTree.Root, path)))
                    .Select(path => $"{document}: {path}")));

    [Fact]
    public void Architecture_opens_with_where_is() =>
        Assert.Contains("Where is ...?", string.Join('\n', SourceTree.Lines("ARCHITECTURE.md").Take(8)),
            StringComparison.Ordinal);

    [Fact]
    public void Change_log_has_its_shape()
    {
        string[] headings = [.. SourceTree.Lines("CHANGELOG.md").Where(line => line.StartsWith('#'))];
        Assert.Equal("# Changelog", headings[0]);
        Assert.Equal("## Unreleased", headings[1]);
        Assert.All(headings[2..], heading =>
            Assert.Matches("^## [0-9.]+ - [0-9]{4}-[0-9]{2}-[0-9]{2}$|^### ", heading));
    }

    [Fact]
    public void Decisions_are_short_and_numbered() =>
        Expect("docs/decisions/NNNN-title.md, at most 60 lines", SourceTree.Files
            .Where(file => file.StartsWith("docs/decisions/", StringComparison.Ordinal))
            .Where(file => !DecisionName().IsMatch(file) || SourceTree.Lines(file).Length > 60));

    [Fact]
    public void There_are_no_blobs() =>
        Expect($"no file above {BlobBytes} bytes", SourceTree.Files.Where(file =>
            new FileInfo(Path.Combine(SourceTree.Root, file)).Length > BlobBytes
            && !file.EndsWith(".g.cs", StringComparison.Ordinal)));

    /// <summary>Public types, and public members of public types, without <c>///</c>. Overrides and Dispose
    /// have theirs at the base; of a partial type one part carries it.</summary>
    private static IEnumerable<string> Undocumented(string file)
    {
        string[] lines = SourceTree.Lines(file);
        bool inPublicType = false;
        for (int index = 0; index < lines.Length; index++)
        {
            string line = lines[index];
            if (TypeDeclaration().IsMatch(line))
            {
                inPublicType = line.StartsWith("public ", StringComparison.Ordinal);
            }

            bool isMember = line.StartsWith("    public ", StringComparison.Ordinal);
            bool isType = line.StartsWith("public ", StringComparison.Ordinal) && !line.Contains(" partial ");
            bool excused = line.Contains(" override ") || line.Contains(" void Dispose()");
            int above = index - 1;
            while (above >= 0 && lines[above].TrimStart().StartsWith('['))
            {
                above--;
            }

            bool documented = above >= 0
                && lines[above].TrimStart().StartsWith("///", StringComparison.Ordinal);
            if ((isType || (isMember && inPublicType)) && !excused && !documented)
            {
                yield return $"{file}:{index + 1}: {line.Trim()}";
            }
        }
    }

    private static IEnumerable<string> Matches(IEnumerable<string> files, Regex pattern) =>
        from file in files
        from match in pattern.Matches(SourceTree.Code(file))
        select $"{file}: {match.Value.Trim()}";

    private static void Expect(string advice, IEnumerable<string> offences)
    {
        string[] all = [.. offences];
        Assert.True(all.Length == 0, $"{advice}:\n  {string.Join("\n  ", all)}");
    }

    [GeneratedRegex(@"\bunsafe\b|\b(?:Unsafe|Marshal|CollectionsMarshal)\.")]
    private static partial Regex UnsafeCode();

    [GeneratedRegex(
        @"\b(?:DateTime|DateTimeOffset|Stopwatch|TimeProvider|RandomNumberGenerator|Random)\b|\bTickCount")]
    private static partial Regex HostTime();

    [GeneratedRegex(@"^[ ]*(?:public|private|internal|protected)(?: unsafe| volatile| new)* static"
        + @"(?! readonly| partial| class| extern| abstract| unsafe class)[\w<>\[\],?*. ]+ \w+\s*(?:=[^>]|;)",
        RegexOptions.Multiline)]
    private static partial Regex StaticField();

    [GeneratedRegex(
        @"\b(?:class|struct|record|interface) \w*(?:Manager|Helper|Helpers|Util|Utils|Utility|Utilities)\b")]
    private static partial Regex BannedName();

    [GeneratedRegex(
        "^(?:public|internal|file)? ?(?:sealed |static |abstract |readonly |ref |unsafe |partial )*"
        + "(?:class|struct|record|enum|interface) ")]
    private static partial Regex TypeDeclaration();

    [GeneratedRegex(@"(?<![\w/.$~-])(?<path>(?:src|tests|docs|bench|guest|tools|\.ci)/[\w./-]+)")]
    private static partial Regex PathInDocument();

    [GeneratedRegex(@"^docs/decisions/[0-9]{4}-[a-z0-9-]+\.md$")]
    private static partial Regex DecisionName();
}
