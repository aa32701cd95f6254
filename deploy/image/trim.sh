#!/usr/bin/env bash
# Takes out of an unpacked root what no sensor needs: documentation (licences stay), translations, package managers, shells'
# helpers, headers, tests of the libraries.
set -euo pipefail
root=$1
cd "$root"
find usr/share/doc -mindepth 2 ! -name copyright ! -path "usr/share/doc/roomtone/*" -not -type d -delete
find usr/share/doc -mindepth 1 -type d -empty -delete
rm -rf usr/share/{man,info,locale,lintian,bug,menu,applications,pixmaps,bash-completion,zsh,perl5,debconf,dpkg,adduser,python3,binfmts}
rm -rf var/{cache,log,lib/dpkg,lib/pam,lib/systemd} etc/{init.d,cron*,logrotate.d,systemd,default,dpkg,pam*,security,debconf*,adduser*}
rm -rf usr/lib/{systemd,dpkg,tmpfiles.d,sysusers.d,udev,init} usr/include usr/lib/*/pkgconfig
rm -f usr/sbin/{unix_*,faillock,mkhomedir_helper,adduser,addgroup,deluser,delgroup,dpkg*,pam*,user*,group*,grp*,pwck,chpasswd,newusers,update-*,vigr,vipw}
rm -f usr/bin/{dpkg*,deb*,pdb*,pygettext*,pydoc*,2to3*,py3*,perl*,tar,passwd,chage,chfn,chsh,expiry,gpasswd,newgrp}
rm -rf usr/lib/python3*/{lib2to3,test,idlelib,tkinter,turtledemo,ensurepip,distutils,config-*,pydoc_data}
rm -rf usr/lib/roomtone/{bin,pip*,setuptools*,numpy/f2py,share}
find usr/lib/roomtone -type d \( -name tests -o -name test -o -name include \) -prune -exec rm -rf {} +
find usr/lib/roomtone -name "*.pyi" -delete
find usr/lib/roomtone -name RECORD -delete # names the folder in which it was made
find . -name __pycache__ -prune -exec rm -rf {} +
