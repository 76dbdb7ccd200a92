// Turns guest code into host code, one block at a time: scan (decode up to the end of the block), classify,
// work out which flags are live, lower each instruction, emit the cold stubs, register the block. Called by
// TranslatorVcpu when it needs code that is not there; runs on the vCPU thread and allocates nothing in
// steady state.
//
// The rules every lowering keeps:
//  - check, then commit: everything that can fault happens before the instruction changes any guest register;
//  - the body of an instruction with a memory operand is position-independent, so the cold stub can hold a
//    copy of it that runs on the bounce buffer;
//  - guest flags are in the host flags, or parked in r11, or dead; ComputeLiveness decides, EnsureFlags
//    brings them back.

using System;
using Iced.Intel;
using Lhype.Cpu.Architecture;
using Lhype.Cpu.Mmu;
using Lhype.Host;

namespace Lhype.Cpu.Translator;

/// <summary>An instruction that C# executes when emitted code reaches it.</summary>
internal struct TrapSite
{
    internal Instruction Instruction;
    internal int Block;
    internal int GuestOffset;
    /// <summary>Instructions behind this one that the budget has been charged for already.</summary>
    internal int Charged;
    /// <summary>Offset of the host code that follows, or 0 if the block ends here.</summary>
    internal int Continuation;
    /// <summary>The instruction may change what the translation mode depends on.</summary>
    internal bool ChangesMode;
    /// <summary>The instruction is not for C# but for a block of its own outside the window.</summary>
    internal bool StepsOut;
}

/// <summary>The translator of one vCPU.</summary>
internal sealed unsafe partial class Translator
{
    private const int MaxInstructions = 64;

    private readonly Emitter _emit;
    private readonly Thunks _thunks;
    private readonly BlockCache _cache;
    private readonly InstructionClasses _classes;
    private readonly LinearMemory _memory;
    private readonly JumpCache _jumps;
    private readonly GuestRam _ram;
    private readonly int _limit;
    private readonly PageReader _reader = new();
    private readonly Decoder _decoder32;
    private readonly Decoder _decoder16;
    private readonly Decoder _decoder64;
    private readonly HighRegisters _high;
    private readonly LongInstructionCopy _longCopy;
    private readonly InstructionInfoFactory _info = new();
    private readonly Instruction[] _instructions = new Instruction[MaxInstructions];
    private readonly int[] _offsets = new int[MaxInstructions + 1];
    private readonly byte[] _liveBefore = new byte[MaxInstructions + 1];
    private readonly byte[] _segmentEnd = new byte[MaxInstructions + 1];
    private readonly ColdStub[] _cold = new ColdStub[MaxInstructions * 7];
    private readonly byte* _crossing;
    private TrapSite[] _traps = new TrapSite[4096];
    private int _trapCount;

    // The block being translated.
    private uint _mode;
    /// <summary>64-bit code: addresses and stack slots have 8 bytes.</summary>
    private bool _long;
    private byte* _code;
    private int _count;
    private int _coldCount;
    private int _current;

    internal Translator(CpuState* state, Emitter emitter, Thunks thunks, BlockCache cache,
        LinearMemory memory, JumpCache jumps, GuestRam ram, CpuModel model, TranslatorEngine options)
    {
        _emit = emitter;
        _thunks = thunks;
        _cache = cache;
        _memory = memory;
        _jumps = jumps;
        _ram = ram;
        _limit = Math.Clamp(options.MaxBlockInstructions, 1, MaxInstructions);
        _hasRotate = HostCpu.HasBmi2 && !options.AvoidsBmi2;
        _classes = new InstructionClasses(model);
        _crossing = (byte*)System.Runtime.InteropServices.NativeMemory.AllocZeroed(64);
        DecoderOptions decoding = DecoderOptions.ForceReservedNop
            | (model.HasTzcnt ? DecoderOptions.None : DecoderOptions.NoMPFX_0FBC)
            | (model.HasLzcnt ? DecoderOptions.None : DecoderOptions.NoMPFX_0FBD);
        _decoder32 = Decoder.Create(32, _reader, decoding);
        _decoder16 = Decoder.Create(16, _reader, decoding);
        _decoder64 = Decoder.Create(64, _reader, decoding);
        _high = new HighRegisters(emitter);
        _hints = new RegionHints(state, memory);
        _longCopy = new LongInstructionCopy(emitter, _high);
    }

    /// <summary>Guest instructions translated so far.</summary>
    internal ulong InstructionsTranslated { get; private set; }

    /// <summary>Host bytes emitted so far.</summary>
    internal ulong HostBytes { get; private set; }

    /// <summary>The guest's kernel has enabled AVX; changed only when no translation is left.</summary>
    internal bool AvxEnabled
    {
        get => _classes.AvxEnabled;
        set => _classes.AvxEnabled = value;
    }

    internal ref TrapSite TrapAt(int index) => ref _traps[index];

    internal bool HasTrap(int index) => (uint)index < (uint)_trapCount;

    /// <summary>Forgets the trap sites along with all blocks.</summary>
    internal void Clear()
    {
        _trapCount = 0;
        _emit.Offset = _thunks.End;
    }

    /// <summary>True if there is room for one more block of any size.</summary>
    internal bool HasRoom => _emit.Left > 64 * 1024;

    /// <summary> Translates the block at <paramref name="offset"/> of <paramref name="page"/>.
    /// <paramref name="secondGpa"/> is the page that follows in linear memory, needed only if the first
    /// instruction crosses into it (ulong.MaxValue if it cannot be read). Returns the block's index, or -1 if
    /// the instruction needs the second page and it is missing. </summary>
    internal int Translate(CodePage page, int offset, ulong secondGpa)
    {
        _mode = page.ModeKey;
        _long = (_mode & ModeKey.Long) != 0;
        _coldCount = 0;
        Parked = false;
        Block block = new()
        {
            Page = page,
            GuestOffset = offset,
            SecondGpa = ulong.MaxValue,
            FirstMap = _cache.MapCount,
        };

        bool crosses = Scan(page, offset, secondGpa);
        if (_count == 0)
        {
            return -1;
        }

        if (crosses)
        {
            block.SecondGpa = secondGpa;
        }

        ComputeLiveness();
        ComputeSegments();
        ComputeStackGroups();
        if (Windowed && _long)
        {
            _hints.Begin(_instructions.AsSpan(0, _count));
        }

        _high.Begin(_long ? _instructions.AsSpan(0, _count) : default);
        block.Start = _emit.Offset;
        block.FlagsLiveIn = _liveBefore[0] != 0;
        block.GuestLength = _offsets[_count] - offset;
        int firstTrap = _trapCount;
        int index = _cache.BlockCount;
        EmitHead(ref block, crosses, secondGpa);
        bool ended = false;
        for (_current = 0; _current < _count; _current++)
        {
            ended = Lower(_instructions[_current]);
            FollowNear(_instructions[_current]);
        }

        if (!ended)
        {
            EmitDirectJump(_offsets[_count]);
        }

        EmitColdStubs();
        block.End = _emit.Offset;
        block.MapCount = _cache.MapCount - block.FirstMap;
        for (int trap = firstTrap; trap < _trapCount; trap++)
        {
            _traps[trap].Block = index;
        }

        InstructionsTranslated += (ulong)_count;
        HostBytes += (ulong)(block.End - block.Start);
        return _cache.AddBlock(block);
    }

    /// <summary>Decodes into _instructions. True if the one instruction found crosses into the second
    /// page.</summary>
    private bool Scan(CodePage page, int offset, ulong secondGpa)
    {
        _code = _ram.Base + page.Gpa;
        _count = 0;
        int limit = (_mode & ModeKey.SingleStep) != 0 ? 1 : _limit;
        Decoder decoder = _long ? _decoder64 : (_mode & ModeKey.Code32) != 0 ? _decoder32 : _decoder16;
        while (_count < limit && offset < 4096)
        {
            ref Instruction instruction = ref _instructions[_count];
            _reader.Set(_code + offset, 4096 - offset);
            decoder.IP = 0;
            decoder.Decode(out instruction);
            if (decoder.LastError == DecoderError.NoMoreBytes)
            {
                return _count == 0 && ScanCrossing(decoder, offset, secondGpa);
            }

            _offsets[_count++] = offset;
            offset += Math.Max(instruction.Length, 1);
            _offsets[_count] = offset;
            if (_classes.EndsBlock(instruction, _mode) && !GoesOn(page, instruction, offset))
            {
                break;
            }
        }

        return false;
    }

    /// <summary>A block goes on behind a call, and behind a conditional jump forward, which is most often not
    /// taken, unless what follows has been translated already.</summary>
    private bool GoesOn(CodePage page, in Instruction instruction, int next) =>
        next < 4096 && page.Table[next] == 0 && _classes.KindOf(instruction, _mode) == InstructionKind.Special
        && (instruction.Mnemonic == Mnemonic.Call
            || (instruction.IsJccShortOrNear && (int)instruction.NearBranchTarget >= instruction.Length));

    /// <summary>True for what may leave a block in its middle.</summary>
    private static bool EndsSegment(in Instruction instruction) =>
        instruction.IsJccShortOrNear || instruction.Mnemonic == Mnemonic.Call;

    /// <summary>Splits the block behind each conditional jump and call: the budget is charged for one segment
    /// at a time, so that it is right wherever the block is left.</summary>
    private void ComputeSegments()
    {
        int end = _count;
        for (int i = _count - 1; i >= 0; i--)
        {
            if (EndsSegment(_instructions[i]))
            {
                end = i + 1;
            }

            _segmentEnd[i] = (byte)end;
        }

        _segmentEnd[_count] = (byte)_count;
    }

    /// <summary>The host code from here on belongs to instruction <paramref name="index"/> of the
    /// block.</summary>
    private void Note(int index, bool parked) => _cache.AddMap(_emit.Offset, _offsets[index], index,
        _segmentEnd[index] - index, parked);

    private bool ScanCrossing(Decoder decoder, int offset, ulong secondGpa)
    {
        if (secondGpa == ulong.MaxValue)
        {
            return false;
        }

        int first = 4096 - offset;
        Buffer.MemoryCopy(_code + offset, _crossing, 64, first);
        Buffer.MemoryCopy(_ram.Base + secondGpa, _crossing + first, 64 - first, 16);
        _reader.Set(_crossing, first + 16);
        decoder.IP = 0;
        decoder.Decode(out _instructions[0]);
        _offsets[0] = offset;
        _offsets[1] = offset + Math.Max(_instructions[0].Length, first + 1);
        _count = 1;
        _code = _crossing - offset;
        return true;
    }

    /// <summary>Which arithmetic flags (as Iced RflagsBits) are needed at each instruction, going backwards.
    /// All are live where the block is left, because what follows is not known. A fault in the middle of a
    /// block shows the guest garbage in flags that are dead there; blocks of one instruction are
    /// exact.</summary>
    private void ComputeLiveness()
    {
        const int All = (int)ArithmeticFlags;
        int live = All;
        for (int i = _count - 1; i >= 0; i--)
        {
            ref readonly Instruction instruction = ref _instructions[i];
            InstructionKind kind = _classes.KindOf(instruction, _mode);
            if (kind == InstructionKind.Trap || instruction.Mnemonic == Mnemonic.Sti
                || EndsSegment(instruction) || InstructionClasses.IsEmittedSystem(instruction, _mode))
            {
                live = All;
            }
            else
            {
                live = (live & ~(int)FlagsReplaced(instruction)) | ((int)instruction.RflagsRead & All);
                if (_limit == 1)
                {
                    live = All;
                }
            }

            _liveBefore[i] = (byte)live;
        }
    }

    /// <summary>The flags an instruction certainly replaces. Shifts and rotates by zero leave all as they
    /// were (SDM vol. 2). "Undefined" flags keep their old value on some CPUs (MUL, DIV), so they count as
    /// kept; only the logic operations replace AF on every CPU, and they are too common to be careful
    /// about.</summary>
    private static RflagsBits FlagsReplaced(in Instruction instruction)
    {
        RflagsBits replaced = instruction.RflagsWritten | instruction.RflagsCleared | instruction.RflagsSet;
        if (instruction.IsStringInstruction && (instruction.HasRepPrefix || instruction.HasRepnePrefix))
        {
            // No iteration, no flags.
            return RflagsBits.None;
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.And or Mnemonic.Or or Mnemonic.Xor or Mnemonic.Test:
                return replaced | RflagsBits.AF;
            case Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Rol or Mnemonic.Ror
                or Mnemonic.Rcl or Mnemonic.Rcr:
                return instruction.Op1Kind == OpKind.Register || (instruction.Immediate8 & 31) == 0
                    ? RflagsBits.None : replaced;
            case Mnemonic.Shld or Mnemonic.Shrd:
                return instruction.Op2Kind == OpKind.Register || (instruction.Immediate8 & 31) == 0
                    ? RflagsBits.None : replaced;
            default:
                return replaced;
        }
    }

    private const RflagsBits ArithmeticFlags = RflagsBits.OF | RflagsBits.SF | RflagsBits.ZF | RflagsBits.AF
        | RflagsBits.CF | RflagsBits.PF;

    private static bool TouchesFlags(in Instruction instruction) =>
        ((instruction.RflagsModified | instruction.RflagsRead) & ArithmeticFlags) != RflagsBits.None;

    /// <summary>Brings parked flags back if this instruction reads them or leaves some of them
    /// standing.</summary>
    private void FlagsForBody(in Instruction instruction)
    {
        if (Parked && TouchesFlags(instruction))
        {
            if (_liveBefore[_current] != 0)
            {
                _emit.UnparkFlags();
            }

            Parked = false;
        }
    }

    /// <summary>The guest's flags are parked in r11.</summary>
    private bool Parked
    {
        get => _high.Parked;
        set
        {
            _high.Parked = value;
            ForgetNear();
        }
    }

    /// <summary>C# goes on here after it has executed a trapped instruction.</summary>
    private void ContinueAfter(int trap)
    {
        _traps[trap].Continuation = _emit.Offset;
        ForgetScratch();
    }

    /// <summary>Other code has run: r10 and r11 may have changed.</summary>
    private void ForgetScratch()
    {
        _high.Forget();
        ForgetNear();
    }

    /// <summary>The guest's flags are in the host flags from here on.</summary>
    private void EnsureFlags()
    {
        if (Parked)
        {
            _emit.UnparkFlags();
            Parked = false;
        }
    }

    /// <summary>The host flags may be destroyed from here on.</summary>
    private void FreeFlags()
    {
        if (!Parked && _liveBefore[_current] != 0)
        {
            _emit.ParkFlags();
            Parked = true;
        }
    }

    /// <summary>A CodeReader over guest bytes in place.</summary>
    private sealed class PageReader : CodeReader
    {
        private byte* _next;
        private byte* _end;

        internal void Set(byte* start, int length)
        {
            _next = start;
            _end = start + length;
        }

        public override int ReadByte() => _next < _end ? *_next++ : -1;
    }
}
