import os,pty,sys,fcntl,termios,struct,select
cols=int(sys.argv[1]); 
pid,fd=pty.fork()
if pid==0:
    os.environ['COLUMNS']=str(cols); os.environ['TERM']='xterm-256color'
    os.execvp('python',['python','-c','from sari_bench.cli import main; main()']+sys.argv[2:])
fcntl.ioctl(fd,termios.TIOCSWINSZ,struct.pack('HHHH',50,cols,0,0))
out=b''
while True:
    try: d=os.read(fd,65536)
    except OSError: break
    if not d: break
    out+=d
_,st=os.waitpid(pid,0)
import re
t=out.decode('utf8','replace')
t=re.sub(r'\x1b\[[0-9;?]*[A-Za-z]','',t).replace('\r\n','\n')
sys.stdout.write(t); print('[rc',os.waitstatus_to_exitcode(st),'] widest',max((len(l) for l in t.split('\n')),default=0))
