// Prints the host code of a golden snippet as text that is the same in every run: labels instead of addresses
// in the block, names for the shared routines, the fields of CpuState and pointers.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Numerics;
using System.Reflection;
using System.Text;
using Iced.Intel;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using Lhype.Cpu.Translator;
using Lhype.Host;
using Lhype.Tests.Cpu.Oracle;
using Decoder = Iced.Intel.Decoder;

namespace Lhype.Tests.Cpu.Golden;

/// <summary>The names of one block, and its text.</summary>
internal sealed class HostCodeText : ISymbolResolver
{
    private const uint PageGpa = 0x1_0000;
    private const int CodeBytes = 1 << 20;
    private const int TlbBytes = CpuState.TlbEntries * 16;

    private static readonly string[] TlbNames = ["KernelRead", "KernelWrite", "UserRead", "UserWrite"];

    /// <summary>Fields of CpuState by offset, highest first.</summary>
    private static readonly (int Offset, string Name)[] Fields = [.. typeof(CpuState.Offset)
        .GetFields(BindingFlags.Static | BindingFlags.NonPublic).Where(field => field.IsLiteral)
        .Select(field => ((int)field.GetRawConstantValue()!, field.Name)).OrderDescending()];

    private readonly TranslatedBlock _block;
    private readonly List<Instruction> _instructions = [];
    private readonly Dictionary<ulong, string> _labels = [];

    private HostCodeText(TranslatedBlock block)
    {
        _block = block;
        Thunks thunks = block.Thunks;
        _labels[0] = "IndirectMiss";
        const BindingFlags members = BindingFlags.Instance | BindingFlags.NonPublic;
        foreach (PropertyInfo place in typeof(Thunks).GetProperties(members)
            .Where(place => place.Name != nameof(Thunks.End)))
        {
            _labels[(ulong)(int)place.GetValue(thunks)!] = place.Name;
        }

        _instructions.AddRange(Decode(block.Code, 64, (ulong)block.Start));
        ulong end = (ulong)(block.Start + block.Code.Length);
        IEnumerable<ulong> targets = _instructions.Where(one => one.Op0Kind == OpKind.NearBranch64)
            .Select(one => one.NearBranch64).Where(target => target >= (ulong)block.Start && target <= end);
        int number = 0;
        foreach (ulong target in targets.Distinct().Order().ToArray())
        {
            _labels[target] = $"L{++number}";
        }
    }

    /// <summary>Translates on a new vCPU and prints: mode, guest code, host code. Lines with ";" name the
    /// guest instruction (by its offset in the page) that the host code below belongs to.</summary>
    internal static string Of(GoldenSnippet snippet)
    {
        using GuestRam ram = new(1 << 20);
        byte[] code = snippet.Code;
        Assert(ram.TryGetSpan(PageGpa + (uint)snippet.At, code.Length, out Span<byte> guest));
        code.CopyTo(guest);
        using var vcpu = (TranslatorVcpu)new TranslatorEngine { CodeBytes = CodeBytes }
            .CreateVcpu(ram, new TestBus(), CpuModel.Base);
        TranslatedBlock? block = vcpu.TranslateOnly(PageGpa + (ulong)snippet.At, snippet.Mode);
        Assert(block != null);
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"mode: {ModeText(snippet.Mode)}\nguest:\n");
        AppendGuest(text, snippet);
        text.Append(CultureInfo.InvariantCulture, $"host, {block!.Code.Length} bytes:\n");
        new HostCodeText(block).Append(text);
        return text.ToString();
    }

    /// <inheritdoc/>
    public bool TryGetSymbol(in Instruction instruction, int operand, int instructionOperand, ulong address,
        int addressSize, out SymbolResult symbol)
    {
        string? name = instructionOperand < 0 ? null : instruction.GetOpKind(instructionOperand) switch
        {
            OpKind.NearBranch64 => _labels.GetValueOrDefault(address, "Unknown"),
            OpKind.Immediate64 => "Pointer",
            OpKind.Memory when instruction.MemoryBase == Register.R15 => FieldName((int)address),
            _ => null,
        };
        symbol = name == null ? default : new SymbolResult(address, name);
        return name != null;
    }

    private static string FieldName(int offset)
    {
        if (offset >= CpuState.Offset.Tlb && offset < CpuState.Offset.CodeTlb)
        {
            int within = offset - CpuState.Offset.Tlb;
            return $"Tlb.{TlbNames[within / TlbBytes]}.{(within % TlbBytes == 0 ? "Tag" : "Addend")}";
        }

        (int start, string name) = Fields.First(field => field.Offset <= offset);
        return offset == start ? name : $"{name}.{offset - start:X}h";
    }

    private static string ModeText(uint mode)
    {
        IEnumerable<string> names = typeof(ModeKey).GetFields()
            .Where(field => field.IsLiteral && BitOperations.IsPow2((uint)field.GetRawConstantValue()!)
                && (mode & (uint)field.GetRawConstantValue()!) != 0)
            .Select(field => field.Name);
        return mode == 0 ? "none" : string.Join(' ', names);
    }

    private static void AppendGuest(StringBuilder text, GoldenSnippet snippet)
    {
        byte[] code = snippet.Code;
        int bits = (snippet.Mode & ModeKey.Long) != 0 ? 64
            : (snippet.Mode & ModeKey.Code32) != 0 ? 32 : 16;
        NasmFormatter formatter = new();
        foreach (Instruction one in Decode(code[..snippet.Length], bits, (ulong)snippet.At))
        {
            StringOutput line = new();
            formatter.Format(one, line);
            string hex = Convert.ToHexString(code, (int)one.IP - snippet.At, one.Length);
            text.Append(CultureInfo.InvariantCulture,
                $"    {one.IP:x3}  {hex,-16} {line.ToStringAndReset()}\n");
        }
    }

    private void Append(StringBuilder text)
    {
        NasmFormatter formatter = new(this);
        formatter.Options.ShowBranchSize = false;
        StringOutput line = new();
        string owner = "";
        int map = 0;
        foreach (Instruction one in _instructions)
        {
            string now = owner;
            for (; map < _block.Map.Length && _block.Map[map].HostOffset <= (int)one.IP; map++)
            {
                MapEntry entry = _block.Map[map];
                now = $"  ; {entry.GuestOffset:x3}{(entry.FlagsParked ? ", flags parked" : "")}\n";
            }

            if (_labels.TryGetValue(one.IP, out string? label))
            {
                text.Append(label).Append(":\n");
            }

            text.Append(now == owner ? "" : now);
            owner = now;
            formatter.Format(one, line);
            text.Append("    ").Append(line.ToStringAndReset()).Append('\n');
        }
    }

    private static IEnumerable<Instruction> Decode(byte[] code, int bits, ulong address)
    {
        var decoder = Decoder.Create(bits, code, address);
        while (decoder.IP < address + (ulong)code.Length)
        {
            yield return decoder.Decode();
        }
    }

    private static void Assert(bool condition) => Xunit.Assert.True(condition);
}
